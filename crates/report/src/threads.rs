//! Groups threads that do the same.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use regex::Regex;
use rtops_protocol::{Signal, StackId, TaskKind, Thread};
use rtops_symbols::{FrameClass, Name, WaitReason};

use crate::{
    dump::{Dump, leaf_of},
    format,
    frame::{Frame, FrameId, Link},
    frames::Frames,
    remarks,
    selection::{Grouping, Selection},
    task::{State, Task},
    words,
};

/// Threads with equal states and stacks.
#[derive(Debug)]
pub struct ThreadGroup<'a> {
    /// Sorted by number.
    pub threads: Vec<&'a Thread>,
    /// What they wait for, if known.
    pub wait: Option<WaitReason>,
    /// Whether the wait reason rests on function names alone.
    pub approximate: bool,
    /// Innermost first.
    pub links: Vec<Link>,
    /// What to say about a missing or incomplete stack.
    pub remark: Option<String>,
}

/// What makes two threads look the same.
type Look = (
    Option<char>,
    Option<WaitReason>,
    Vec<FrameId>,
    Option<String>,
    Option<i32>,
);

impl<'a> ThreadGroup<'a> {
    /// Returns a group of these threads that looks the same.
    #[must_use]
    pub fn with(&self, threads: Vec<&'a Thread>) -> Self {
        Self {
            threads,
            wait: self.wait,
            approximate: self.approximate,
            links: self.links.clone(),
            remark: self.remark.clone(),
        }
    }

    /// Returns the distinct known names, each with its number of threads, most common first.
    pub fn names(&self) -> Vec<(&'a str, usize)> {
        let threads = self.threads.iter();
        format::commonest(threads.filter_map(|thread| Some((thread.name.as_deref()?, 1))))
    }

    /// Returns the state in words, if known.
    pub fn state(&self) -> Option<&'static str> {
        Some(words::thread_state(self.threads.first()?.state?))
    }

    /// Returns the signal that ended the process, if one of these threads got it.
    pub fn killed_by(&self, dump: &Dump) -> Option<Signal> {
        let (thread, signal) = crash(dump)?;
        let mut threads = self.threads.iter();
        threads.any(|one| one.tid == thread).then_some(signal)
    }
}

/// Returns the stacks needed to show the threads of a dump.
pub fn stacks_of_threads(dump: &Dump) -> impl Iterator<Item = StackId> {
    let leaves = dump.threads.iter().filter_map(leaf_of);
    leaves.map(|leaf| leaf.stack)
}

/// Returns the thread that got the signal that ended the process, and the signal.
pub(crate) fn crash(dump: &Dump) -> Option<(i32, Signal)> {
    let core = dump.core.as_ref()?;
    Some((core.thread?, core.signal?))
}

/// Groups the selected threads: the crashed one first, then the largest group.
pub fn group_threads<'a>(
    dump: &'a Dump,
    frames: &Frames,
    selection: &Selection,
    grouping: Grouping,
) -> Vec<ThreadGroup<'a>> {
    let mut by_look: HashMap<Look, ThreadGroup> = HashMap::new();
    let wanted = selection.threads.as_ref();
    let crashed = crash(dump).map(|(thread, _)| thread);
    let polling = Polling::of(dump);
    for thread in &dump.threads {
        if wanted.is_some_and(|wanted| !wanted.contains(&thread.tid)) {
            continue;
        }
        let (links, wait, remark) = stack(thread, frames);
        let remark = remark.or_else(|| polling.lacks_future(thread, frames).map(str::to_owned));
        let matches = |filter: &Regex| {
            let name = thread.name.as_deref();
            name.is_some_and(|name| filter.is_match(name)) || frames.matches(filter, &links)
        };
        if selection
            .filter
            .as_ref()
            .is_some_and(|filter| !matches(filter))
        {
            continue;
        }
        let look = (
            thread.state,
            wait,
            links.iter().map(|link| link.frame).collect(),
            remark.clone(),
            (grouping == Grouping::Each || Some(thread.tid) == crashed).then_some(thread.tid),
        );
        by_look
            .entry(look)
            .or_insert_with(|| ThreadGroup {
                threads: Vec::new(),
                wait,
                approximate: is_approximate(thread, frames),
                links,
                remark,
            })
            .threads
            .push(thread);
    }
    let mut groups: Vec<ThreadGroup> = by_look.into_values().collect();
    groups.sort_by_key(|group| {
        let first = group.threads.first().map(|thread| thread.tid);
        let has_crashed = group.killed_by(dump).is_some();
        (!has_crashed, Reverse(group.threads.len()), first)
    });
    groups
}

/// Returns what a thread waits for, if known.
pub fn wait_of(thread: &Thread, frames: &Frames) -> Option<WaitReason> {
    let links = leaf_of(thread).map_or(&[][..], |leaf| frames.stack(leaf.stack));
    frames.thread_wait(links, thread.state, thread.syscall)
}

fn is_approximate(thread: &Thread, frames: &Frames) -> bool {
    let links = leaf_of(thread).map_or(&[][..], |leaf| frames.stack(leaf.stack));
    frames.is_approximate(links, thread.state, thread.syscall)
}

fn stack(thread: &Thread, frames: &Frames) -> (Vec<Link>, Option<WaitReason>, Option<String>) {
    let wait = wait_of(thread, frames);
    let Some(leaf) = leaf_of(thread) else {
        return (Vec::new(), wait, Some(remarks::not_captured(thread)));
    };
    let links = frames.stack(leaf.stack);
    let remark = remarks::incomplete(leaf.end).map(str::to_owned);
    (frames.visible(links, &[]), wait, remark)
}

/// What is known about the polls of an image's threads.
struct Polling {
    is_image: bool,
    /// Threads whose `block_on` future is shown.
    shown: HashSet<i32>,
    /// Threads that are inside the poll of a task.
    inside: HashSet<i32>,
}

impl Polling {
    fn of(dump: &Dump) -> Self {
        let tasks = dump.tasks.iter();
        let inside = |task: &Task| match task.state {
            State::Running { tid } if task.kind == TaskKind::Task => tid,
            _ => None,
        };
        Self {
            is_image: dump.is_image(),
            shown: tasks.clone().filter_map(Task::block_on).collect(),
            inside: tasks.filter_map(inside).collect(),
        }
    }

    /// Returns what to say about a thread in `block_on` if it is unknown where its future waits.
    fn lacks_future(&self, thread: &Thread, frames: &Frames) -> Option<&'static str> {
        let leaf = leaf_of(thread)?;
        if !self.is_image || self.shown.contains(&thread.tid) {
            return None;
        }
        let mut frames = frames.of_links(frames.stack(leaf.stack));
        let is_users = |name: &Name| name.polls().is_some() && name.class() == FrameClass::User;
        let first = frames.find(|frame| blocks_on(frame) || is_users(&frame.known))?;
        if blocks_on(first) {
            return Some(remarks::NO_STORED_WAKER);
        }
        // Either the future itself or a task of the same thread may be running.
        (self.inside.contains(&thread.tid) && frames.any(blocks_on))
            .then_some(remarks::BLOCK_ON_AND_TASK)
    }
}

/// Whether a thread is a worker that is not inside `block_on`, so that it will poll only tasks.
pub(crate) fn is_just_worker(dump: &Dump, tid: i32, frames: &Frames) -> bool {
    let Some(leaf) = dump.thread(tid).and_then(leaf_of) else {
        return false;
    };
    let is_worker = |frame: &Frame| {
        frame.name.starts_with("tokio::runtime::") && frame.name.contains("::worker::")
    };
    // Inside out: the inner one of the two polls whatever the thread is parked for.
    let mut frames = frames.of_links(frames.stack(leaf.stack));
    let polls = frames.find(|frame| blocks_on(frame) || is_worker(frame));
    polls.is_some_and(is_worker)
}

/// Whether a function polls one future until it is ready, and parks its thread in between.
pub(crate) fn blocks_on(frame: &Frame) -> bool {
    frame.name.ends_with("::block_on") || frame.name.contains("::run_executor")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{Reply, Stacks, ThreadCapture};

    use super::*;
    use crate::{
        dump::fixtures::{end, of_agent, on, receive},
        frames::fixtures::frames,
    };

    fn thread(tid: i32, name: &str, capture: ThreadCapture) -> Thread {
        Thread {
            capture,
            ..of_agent(tid, name)
        }
    }

    #[test]
    fn equal_threads_are_one_group_and_silent_ones_say_why() {
        let dump = receive(vec![
            Reply::Stacks(Stacks(vec![vec![1], vec![2]])),
            Reply::Threads(vec![
                thread(3, "odd", ThreadCapture::SignalBlocked),
                thread(4, "worker", on(0)),
                thread(5, "worker", on(1)),
                thread(6, "boss", on(0)),
            ]),
            end(),
        ])
        .unwrap();
        let frames = frames(&["park run", "park run"]);
        let selection = Selection::default();
        let groups = group_threads(&dump, &frames, &selection, Grouping::Equal);
        let [workers, odd] = groups.as_slice() else {
            panic!("{groups:?}")
        };
        assert_eq!(workers.names(), [("worker", 2), ("boss", 1)]);
        assert_eq!(workers.remark, None);
        let remark = odd.remark.as_deref().unwrap();
        assert!(remark.contains("blocks") && remark.contains("futex_wait"));
        assert_eq!(
            group_threads(&dump, &frames, &selection, Grouping::Each).len(),
            4
        );
    }

    #[test]
    fn selections_go_by_name_function_and_number() {
        let dump = receive(vec![
            Reply::Stacks(Stacks(vec![vec![1], vec![2]])),
            Reply::Threads(vec![thread(4, "worker", on(0)), thread(5, "odd", on(1))]),
            end(),
        ])
        .unwrap();
        let frames = frames(&["park run", "read run"]);
        for (filter, tid) in [("^read$", 5), ("work", 4), ("park.rs", 4)] {
            let selection = Selection {
                filter: Some(filter.parse().unwrap()),
                ..Selection::default()
            };
            let groups = group_threads(&dump, &frames, &selection, Grouping::Each);
            assert_eq!(tids(&groups), [tid], "{filter}");
        }
        let selection = Selection {
            threads: Some([5].into()),
            ..Selection::default()
        };
        let groups = group_threads(&dump, &frames, &selection, Grouping::Each);
        assert_eq!(tids(&groups), [5]);
    }

    fn tids(groups: &[ThreadGroup]) -> Vec<i32> {
        let threads = groups.iter().flat_map(|group| &group.threads);
        threads.map(|thread| thread.tid).collect()
    }
}
