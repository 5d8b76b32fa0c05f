//! The tasks of a process in the formats of Go's goroutine profile, so that what reads those reads
//! tasks.
//!
//! A [`Profile`] is made of a dump. [`Profile::write_text`] writes the text that `net/http/pprof`
//! gives for `debug=1` or `debug=2`, [`Profile::write_pprof`] the gzipped protobuf that `go tool
//! pprof` and `pprof` read. `docs/operate/profile.md` says what each part of them means.
//!
//! Each task counts once. Where one waits in several places at once (join, select), the first in
//! the order of the source stands for it, and the others are told beside it: in the texts behind
//! a line that says so, in the protobuf as samples of the type `waits`.
mod message;
mod proto;
mod sample;
#[cfg(test)]
mod tests;
mod text;

use std::{
    io::{self, Write},
    time::SystemTime,
};

use rtops_report::{
    dump::Dump,
    escape::escape,
    frames::{Frames, Shown},
    symbolize::symbolize_all,
};
use rtops_symbols::{Segment, Symbols};

/// The tasks of a process at one moment, with names for their addresses.
#[derive(Debug)]
pub struct Profile {
    dump: Dump,
    frames: Frames,
    /// Where the code lies that the tasks are in.
    segments: Vec<Segment>,
    /// Sentences that say what better symbols would give.
    lacks: Vec<String>,
    taken: SystemTime,
}

/// Which of the two texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Text {
    /// Equal tasks together, the most first, as Go's `debug=1`.
    Grouped,
    /// Each task on its own, in the form of a Go panic, as Go's `debug=2`.
    Each,
}

impl Profile {
    /// Looks up the addresses of a dump that was taken at that time, by symbols for its modules. Blocks to read the
    /// debug info of the modules that they lie in.
    #[must_use]
    pub fn resolve(dump: Dump, mut symbols: Symbols, taken: SystemTime) -> Self {
        Self {
            frames: symbolize_all(&dump, &mut symbols, Shown::Folded),
            segments: symbols.segments(),
            lacks: symbols.lacks().iter().map(ToString::to_string).collect(),
            dump,
            taken,
        }
    }

    /// Sentences that say what is missing. They stand in all that is written, too.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        &self.dump.gaps
    }

    /// Writes the text of Go's goroutine profile.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_text(&self, text: Text, writer: &mut impl Write) -> io::Result<()> {
        match text {
            Text::Grouped => text::grouped(self, writer),
            Text::Each => text::each(self, writer),
        }
    }

    /// Writes a gzipped profile in the format of pprof.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_pprof(&self, writer: &mut impl Write) -> io::Result<()> {
        message::write(self, writer)
    }
}

/// What is missing, and what would give more.
fn remarks(profile: &Profile) -> impl Iterator<Item = String> {
    let gaps = profile.dump.gaps.iter();
    let gaps = gaps.map(|gap| format!("incomplete: {}", escape(gap)));
    let lacks = profile.lacks.iter();
    gaps.chain(lacks.map(|lack| format!("more could be shown: {}", escape(lack))))
}
