//! Resolves the addresses of a dump and names the futures of its tasks.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{StackId, TraceId};
use rtops_symbols::{FrameClass, Place, Symbols};

use crate::{
    dump::Dump,
    frames::{Frames, Shown},
    future::polled_by,
    group::stacks_of_tasks,
    task::Task,
    threads::stacks_of_threads,
    trace, untracked,
};

/// Resolves the stacks of all tasks and threads of a dump and every other address
/// in it. No more lookups follow.
pub fn symbolize_all(dump: &Dump, symbols: &mut Symbols, shown: Shown) -> Frames {
    let mut used = stacks_of_tasks(dump);
    used.extend(stacks_of_threads(dump));
    let frames = symbolize(dump, &used, symbols, shown);
    symbols.end();
    frames
}

/// Resolves the given stacks of a dump and every other address in it.
pub fn symbolize(
    dump: &Dump,
    used: &HashSet<StackId>,
    symbols: &mut Symbols,
    shown: Shown,
) -> Frames {
    let mut frames = Frames::look_up(dump, used, symbols, shown);
    name_by_polls(&mut frames, dump);
    name_by_bodies(&mut frames, dump);
    frames
}

/// The name of a future's body and the place where it begins.
type Body = (String, Option<Place>);

/// Names futures of methods after the type of the method, and those of async blocks after their
/// lines. All futures of one type get the same name.
fn name_by_bodies(frames: &mut Frames, dump: &Dump) {
    let mut bodies: HashMap<String, Body> = HashMap::new();
    let mut tried = HashSet::new();
    for task in &dump.tasks {
        let Some(polls) = task.untracked().map(|untracked| untracked.polls) else {
            continue;
        };
        if let Some(future) = frames.future(polls)
            && ["{impl#", "{async_block_env#"]
                .iter()
                .any(|kind| future.name.contains(kind))
            && !bodies.contains_key(&future.name)
            && tried.insert((polls, task.trace, task.leaves.first().copied()))
            && let Some(body) = body_of(frames, dump, task, &future.name)
        {
            bodies.insert(future.name.clone(), body);
        }
    }
    for future in frames.futures.values_mut() {
        let Some((function, place)) = bodies.get(&future.name) else {
            continue;
        };
        if future.name.contains("{async_block_env#") {
            future.place.clone_from(place);
        }
        if future.name.contains("{impl#") {
            future.name.clone_from(function);
        }
    }
}

/// Returns the body of a task's future of this type, if a stepped poll or a stack shows it.
fn body_of(frames: &Frames, dump: &Dump, task: &Task, future: &str) -> Option<Body> {
    let stepped = task.trace.and_then(|trace| dump.trace(trace));
    if let Some((function, place)) =
        stepped.and_then(|stepped| trace::body(stepped, frames, future))
    {
        return Some((function.to_owned(), place.cloned()));
    }
    let links = frames.stack(task.leaves.first()?.stack);
    let mut functions = frames.of_links(links).map(|frame| &frame.function);
    let body = functions.find(|function| rtops_symbols::is_body(future, function))?;
    Some((body.clone(), None))
}

/// Names futures of unknown type after the function that polls them, taken from the
/// stack of a task or a stepped poll.
pub(crate) fn name_by_polls(frames: &mut Frames, dump: &Dump) {
    // Many tasks may share a few traces.
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
                // A thread may poll an executor, but an executor does not poll another.
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

/// Returns the name for a future whose poll was stepped.
fn root_of(frames: &Frames, dump: &Dump, trace: TraceId, left: FrameClass) -> Option<String> {
    let root = trace::root(dump.trace(trace)?, frames, left)?;
    Some(polled_by(root)).filter(|name| name.contains("::"))
}
