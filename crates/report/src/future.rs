//! What the futures of untracked tasks are called.

use std::collections::HashMap;

use rtops_protocol::TraceId;
use rtops_symbols::{Address, FrameClass, Symbols};

use crate::{
    dump::Dump,
    frames::{Frames, Place, text},
    task::Polls,
    trace, untracked,
};

/// The future of untracked tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Future {
    /// Its type, as debug info names it; else the function that polls it; else where that is.
    pub name: String,
    /// Whether that is more than an address.
    pub(crate) has_type: bool,
    /// Where its code is, if it is a box, whose type tells nothing.
    pub place: Option<Place>,
    /// Where in memory the code of the function begins that polls it.
    pub(crate) entry: u64,
}

impl Future {
    pub(crate) fn of(polls: Polls, symbols: &mut Symbols) -> Self {
        let poller = symbols.poller(polls.poll);
        let known = Self {
            has_type: poller.future_type.is_some(),
            name: poller.future_type.unwrap_or(poller.module_offset),
            place: None,
            entry: poller.entry,
        };
        let Some(boxed) = polls.boxed.filter(|_| known.is_box()) else {
            return known;
        };
        let address = Address::InstructionPointer(boxed);
        let resolved = symbols.resolve(&[address]);
        let function = resolved
            .get(&address)
            .and_then(|resolved| resolved.frames.last());
        let Some(function) = function else {
            return known;
        };
        Self {
            name: format!("boxed {}", polled_by(&text(&function.function))),
            has_type: true,
            place: function.location.as_ref().map(Place::of_location),
            ..known
        }
    }
}

impl Future {
    /// Whether its type is a box, or at least not known to be something else.
    fn is_box(&self) -> bool {
        let paths = ["alloc::boxed::Box<", "core::pin::Pin<alloc::boxed::Box<"];
        !self.has_type || paths.iter().any(|path| self.name.starts_with(path))
    }
}

/// What stands for a future that this function polls.
fn polled_by(function: &str) -> String {
    // `<app::Wait as core::future::future::Future>::poll`
    if function.starts_with('<') {
        let name = rtops_symbols::display_name(function);
        return name.strip_suffix("::poll").unwrap_or(&name).to_owned();
    }
    function
        .strip_suffix("::poll")
        .unwrap_or(function)
        .to_owned()
}

/// Names futures whose type is not known by the function that polls them, which the stack of a task has,
/// or a stepped poll.
pub(crate) fn name_by_polls(frames: &mut Frames, dump: &Dump) {
    // Any number of tasks may have one of a few traces.
    let mut roots = HashMap::new();
    for task in &dump.tasks {
        let Some(polls) = task.untracked().map(|untracked| untracked.polls) else {
            continue;
        };
        let future = frames.future(polls).filter(|future| !future.has_type);
        let Some(future) = future else {
            continue;
        };
        let first = task.leaves.first().filter(|_| task.block_on().is_none());
        let root = match (first, task.trace) {
            (Some(leaf), _) => untracked::root(frames, *leaf, future.entry).map(polled_by),
            (None, Some(trace)) => {
                // A thread may poll an executor; what an executor polls is none.
                let left = match task.block_on() {
                    Some(_) => FrameClass::Executor,
                    None => FrameClass::Std,
                };
                let root = roots
                    .entry(trace)
                    .or_insert_with(|| root_of(frames, dump, trace, left));
                root.clone()
            }
            (None, None) => None,
        };
        if let (Some(root), Some(future)) = (root, frames.futures.get_mut(&polls)) {
            future.name = root;
            future.has_type = true;
        }
    }
}

/// What stands for the future whose poll was stepped.
fn root_of(frames: &Frames, dump: &Dump, trace: TraceId, left: FrameClass) -> Option<String> {
    let root = trace::root(dump.trace(trace)?, frames, left)?;
    Some(polled_by(root)).filter(|name| name.contains("::"))
}
