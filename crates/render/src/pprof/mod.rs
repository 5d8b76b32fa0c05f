//! Writes the tasks of a process in the formats of Go's goroutine profile, for tools that read it.
//!
//! A [`Profile`] is made from a dump. [`Profile::write_text`] writes the text that `net/http/pprof`
//! serves for `debug=1` or `debug=2`; [`Profile::write_pprof`] writes the gzipped protobuf that `go
//! tool pprof` and `pprof` read. `docs/operate/profile.md` explains each part of them.
//!
//! Each task counts once. If one waits in several places at once (join, select), the first in
//! source order represents it, and the others are added: in the texts after a line that says so, in
//! the protobuf as samples of the type `waits`.
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

/// The tasks of a process at one moment, with their addresses resolved.
#[derive(Debug)]
pub struct Profile {
    dump: Dump,
    frames: Frames,
    /// The segments that contain the code of the tasks.
    segments: Vec<Segment>,
    /// Sentences that say what better symbols would add.
    lacks: Vec<String>,
    taken: SystemTime,
}

/// The two forms of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Text {
    /// Equal tasks grouped, largest group first, as with Go's `debug=1`.
    Grouped,
    /// Each task on its own in the form of a Go panic, as with Go's `debug=2`.
    Each,
}

impl Profile {
    /// Resolves the addresses of a dump taken at `taken`, with symbols for its modules. Blocks
    /// while it reads the modules' debug info.
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

    /// Returns sentences that say what is missing. All output contains them, too.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        &self.dump.gaps
    }

    /// Writes the text of Go's goroutine profile.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn write_text(&self, text: Text, writer: &mut impl Write) -> io::Result<()> {
        match text {
            Text::Grouped => text::grouped(self, writer),
            Text::Each => text::each(self, writer),
        }
    }

    /// Writes a gzipped profile in pprof's format.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn write_pprof(&self, writer: &mut impl Write) -> io::Result<()> {
        message::write(self, writer)
    }
}

/// Returns what is missing, and what better symbols would add.
fn remarks(profile: &Profile) -> impl Iterator<Item = String> {
    let gaps = profile.dump.gaps.iter();
    let gaps = gaps.map(|gap| format!("incomplete: {}", escape(gap)));
    let lacks = profile.lacks.iter();
    gaps.chain(lacks.map(|lack| format!("more could be shown: {}", escape(lack))))
}
