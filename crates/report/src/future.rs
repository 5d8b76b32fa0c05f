//! What the futures of tasks are called that no wrapper tracks.

use std::collections::HashMap;

use rtops_protocol::{Trace, Unwrapped};
use rtops_symbols::{Address, Symbols};

use crate::{
    dump::Dump,
    frames::{Frames, Place, text},
    trace, unwrapped,
};

/// The future of tasks that no wrapper tracks.
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
    pub(crate) fn of(unwrapped: &Unwrapped, symbols: &mut Symbols) -> Self {
        let poller = symbols.poller(unwrapped.poll);
        let known = Self {
            has_type: poller.future_type.is_some(),
            name: poller.future_type.unwrap_or(poller.module_offset),
            place: None,
            entry: poller.entry,
        };
        if unwrapped.boxed_poll == 0 {
            return known;
        }
        let address = Address::InstructionPointer(unwrapped.boxed_poll);
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

/// What stands for a future that this function polls.
fn polled_by(function: &str) -> String {
    // `<app::Wait as core::future::future::Future>::poll`
    if function.starts_with('<') {
        let name = rtops_symbols::display_name(function);
        return name.strip_suffix("::poll").unwrap_or(&name).to_owned();
    }
    function.to_owned()
}

/// Names futures whose type is not known by the function that polls them, which the stack of a task has,
/// or a stepped poll.
pub(crate) fn name_by_polls(frames: &mut Frames, dump: &Dump) {
    let traces = dump.traces.iter().map(|trace| (trace.task, trace));
    let traces: HashMap<u64, &Trace> = traces.collect();
    for task in &dump.tasks {
        let Some(unwrapped) = dump.unwrapped(task.id) else {
            continue;
        };
        let future = frames.future(unwrapped);
        let Some(future) = future.filter(|future| !future.has_type) else {
            continue;
        };
        let root = match (task.leaves.first(), traces.get(&task.id)) {
            (Some(leaf), _) => unwrapped::root(frames, *leaf, future.entry).map(polled_by),
            (None, Some(trace)) => root_of(frames, trace),
            (None, None) => None,
        };
        let key = (unwrapped.poll, unwrapped.boxed_poll);
        if let (Some(root), Some(future)) = (root, frames.futures.get_mut(&key)) {
            future.name = root;
            future.has_type = true;
        }
    }
}

/// What stands for the future whose poll was stepped.
fn root_of(frames: &Frames, trace: &Trace) -> Option<String> {
    let chains = trace::chains(trace, frames);
    let root = frames.get(chains.first()?.links.last()?.frame)?;
    Some(polled_by(&root.function)).filter(|name| name.contains("::"))
}
