//! What is asked of the files of a module, and what they answer; whoever reads them.

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
    /// What to find the functions of.
    pub addresses: Vec<Svma>,
    /// Functions by which tokio polls tasks.
    pub polls: Vec<Svma>,
}

/// What the files of a module tell. Where the lists are shorter than those asked for, the rest is not known.
#[derive(Default)]
pub(crate) struct Answer {
    pub found: Vec<Found>,
    pub pollers: Vec<PolledBy>,
    /// None if nothing is known.
    pub facts: Option<Facts>,
}

/// What stands at an address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    /// The functions, the innermost first; empty if no symbol covers the address.
    pub frames: Vec<Arc<Line>>,
    /// Where the function that was called begins, if a symbol covers the address.
    pub start: Option<Svma>,
}

/// A function, and the place in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub function: String,
    pub place: Option<Place>,
}

/// A line that any number of addresses may have, told apart by where in memory it is: what is made of it
/// is made once, without a look at names, which are long.
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
    /// Of a function that nothing is known of.
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
    /// Where the code is in memory without its bias, and in the file.
    pub segment: Option<(Range<Svma>, FileOffset)>,
}

/// Who reads the files.
pub(crate) trait Reader: Send {
    /// The answers, in the order of the questions. Blocks to read the files of modules that were not asked for
    /// before.
    fn answer(&mut self, asks: &[Ask]) -> Vec<Answer>;

    /// Nobody will ask any more.
    fn end(&mut self) {}
}
