//! Names for the addresses of a dump, and for the futures of its tasks.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{StackId, TraceId};
use rtops_symbols::{FrameClass, Symbols};

use crate::{
    dump::Dump,
    frames::{Frames, Shown},
    future::polled_by,
    trace, untracked,
};

/// Looks up the given stacks of a dump, and all else in it that has an address.
pub fn symbolize(
    dump: &Dump,
    used: &HashSet<StackId>,
    symbols: &mut Symbols,
    shown: Shown,
) -> Frames {
    let mut frames = Frames::look_up(dump, used, symbols, shown);
    name_by_polls(&mut frames, dump);
    frames
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
