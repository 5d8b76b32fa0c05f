//! Questions about the files of a module, and their answers, whoever reads the files.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use rtops_types::{FileOffset, Module, Svma};

use crate::{LackReason, Place};

/// Questions about one module.
pub(crate) struct Ask {
    pub module: Module,
    /// The addresses whose functions are wanted.
    pub addresses: Vec<Svma>,
    /// Functions with which tokio polls tasks.
    pub polls: Vec<Svma>,
}

/// What the files of a module say. If a list is shorter than
/// the one that was asked for, the rest is unknown.
#[derive(Default)]
pub(crate) struct Answer {
    pub found: Vec<Found>,
    pub pollers: Vec<PolledBy>,
    /// `None` if nothing is known.
    pub facts: Option<Facts>,
}

/// What is at an address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    /// The functions, innermost first; empty if no symbol covers the address.
    pub frames: Vec<Arc<Line>>,
    /// The start of the function that was called, if a symbol covers the address.
    pub start: Option<Svma>,
}

/// A function, and the place in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub function: String,
    pub place: Option<Place>,
}

/// A line that any number of addresses may share, compared by its place in memory: what is
/// derived from it is made once, without comparing names, which are long.
#[derive(Clone, Debug)]
pub(crate) struct ByIdentity(pub Arc<Line>);

impl Hash for ByIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByIdentity {}

/// What a function polls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PolledBy {
    pub future_type: Option<String>,
    /// Where its code begins.
    pub entry: Svma,
}

impl PolledBy {
    /// Describes a function of which nothing is known.
    pub(crate) const fn unknown(entry: Svma) -> Self {
        Self {
            future_type: None,
            entry,
        }
    }
}

/// What is known of a module as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Facts {
    /// Whether a file was read.
    pub is_read: bool,
    pub lack: Option<LackReason>,
    pub source_directories: Vec<PathBuf>,
    /// The address range of the code in the ELF file, before the
    /// load bias is added, and its place in the file.
    pub segment: Option<(Range<Svma>, FileOffset)>,
}

/// Reads the files.
pub(crate) trait Reader: Send {
    /// Returns the answers, in the order of the questions. Blocks to read the files of modules
    /// that were not asked about before.
    fn answer(&mut self, asks: &[Ask]) -> Vec<Answer>;

    /// Says that there are no more questions.
    fn end(&mut self) {}
}
