//! Names and places of the subjects of verdicts, and a record of what is already explained.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Party, Shared, SharedKind, Thread};
use rtops_symbols::{WaitEnd, WaitReason};

use crate::{
    dump::{Dump, leaf_of},
    escape::escape,
    format,
    frame::Link,
    frames::Frames,
    group::TaskGroup,
    leaks::idioms::Idioms,
    shared::Parties,
    task::{State, Task, TaskKey},
    words,
};

/// The most places named for one stack.
const MAX_PLACES: usize = 3;

/// The input of the rules.
#[derive(Debug)]
pub(super) struct Facts<'f, 'a> {
    pub(super) dump: &'a Dump,
    pub(super) frames: &'f Frames,
    /// The groups of all tasks.
    pub(super) groups: &'f [TaskGroup<'a>],
    group_of: HashMap<TaskKey, usize>,
    parties: Parties<'a>,
    pub(super) idioms: Idioms<'f>,
    taken: HashSet<TaskKey>,
    taken_threads: HashSet<i32>,
}

impl<'f, 'a> Facts<'f, 'a> {
    pub(super) fn new(dump: &'a Dump, frames: &'f Frames, groups: &'f [TaskGroup<'a>]) -> Self {
        let numbered = groups.iter().enumerate();
        let group_of = numbered
            .flat_map(|(number, group)| group.tasks.iter().map(move |task| (task.key, number)));
        Self {
            dump,
            frames,
            groups,
            group_of: group_of.collect(),
            parties: Parties::of(dump),
            idioms: Idioms::of_tasks(frames, groups),
            taken: HashSet::new(),
            taken_threads: HashSet::new(),
        }
    }

    /// Marks these tasks and threads as explained.
    pub(super) fn take(&mut self, tasks: &[&Task], threads: &[i32]) {
        self.taken.extend(tasks.iter().map(|task| task.key));
        self.taken_threads.extend(threads);
    }

    pub(super) fn is_free(&self, task: &Task) -> bool {
        !self.taken.contains(&task.key)
    }

    pub(super) fn is_free_thread(&self, tid: i32) -> bool {
        !self.taken_threads.contains(&tid)
    }

    /// Returns the tasks of a group that nothing explains so far.
    pub(super) fn free(&self, group: &TaskGroup<'a>) -> Vec<&'a Task> {
        let tasks = group.tasks.iter().copied();
        tasks.filter(|task| self.is_free(task)).collect()
    }

    /// Returns the same for all groups that satisfy a predicate.
    pub(super) fn free_of(&self, is_such: impl Fn(&TaskGroup) -> bool) -> Vec<&'a Task> {
        let groups = self.groups.iter().filter(|group| is_such(group));
        groups.flat_map(|group| self.free(group)).collect()
    }

    /// Returns the group that a task is in.
    pub(super) fn group_of(&self, task: TaskKey) -> Option<&'f TaskGroup<'a>> {
        self.groups.get(*self.group_of.get(&task)?)
    }

    /// Describes `count` tasks of a group: `3 tasks of shop::cart [mutex lock] at src/main.rs:21`.
    pub(super) fn group(&self, group: &TaskGroup, count: usize) -> String {
        let (noun, what) = self.what(group);
        format!("{} {what}", format::count(count, noun))
    }

    /// Returns the noun for the tasks of a group, and what they do where.
    fn what(&self, group: &TaskGroup) -> (&'static str, String) {
        let mut text = match group.own_function(self.frames) {
            Some(function) => format!("in {}", escape(&function.name)),
            None => words::called(group),
        };
        let waits = group.waits();
        if !waits.is_empty() {
            text = format!("{text} [{}]", WaitReason::words(&waits));
        }
        if let Some(place) = self.place(group) {
            text = format!("{text} at {place}");
        }
        (words::noun(group.look.kind), text)
    }

    /// Describes several tasks, which may be in different groups.
    pub(super) fn tasks(&self, tasks: &[&Task]) -> Vec<String> {
        let numbers = tasks.iter().filter_map(|task| self.group_of.get(&task.key));
        let groups = format::commonest(numbers.map(|number| (*number, 1))).into_iter();
        let groups = groups.filter_map(|(number, count)| Some((self.groups.get(number)?, count)));
        // Tasks that run on different threads are in different groups.
        let alike = format::commonest(groups.map(|(group, count)| (self.what(group), count)));
        let alike = alike.into_iter();
        alike
            .map(|((noun, what), count)| format!("{} {what}", format::count(count, noun)))
            .collect()
    }

    /// Returns where in the service a group waits: its innermost own places, and
    /// where those were called from.
    pub(super) fn place(&self, group: &TaskGroup) -> Option<String> {
        let telling = group.telling();
        let mut places = telling.iter();
        places.find_map(|chain| self.place_in(&chain.links))
    }

    /// Returns the same for a stack.
    pub(super) fn place_in(&self, links: &[Link]) -> Option<String> {
        let own = self.frames.of_links(links).filter(|frame| frame.own);
        let own = own.filter_map(|frame| frame.place.as_ref());
        let mut own: Vec<String> = own
            .map(|place| escape(&place.line_of_file()).into_owned())
            .collect();
        own.dedup();
        own.truncate(MAX_PLACES);
        if own.is_empty() {
            return self.frames.own_place(links);
        }
        Some(own.join(" from "))
    }

    /// Returns a thread's whole stack, innermost first; empty if it was not taken.
    pub(super) fn stack(&self, thread: &Thread) -> &'f [Link] {
        leaf_of(thread).map_or(&[], |leaf| self.frames.stack(leaf.stack))
    }

    /// Whether a stack has a function whose name begins with `function`.
    pub(super) fn is_in(&self, links: &[Link], function: &str) -> bool {
        let mut frames = self.frames.of_links(links);
        frames.any(|frame| frame.name.starts_with(function))
    }

    /// Whether a task waits for a message, or for what an idle service waits for.
    pub(super) fn waits_for_work(&self, task: &Task) -> bool {
        let waits = self
            .group_of(task.key)
            .map(TaskGroup::waits)
            .unwrap_or_default();
        let is_work = |wait: &WaitReason| {
            let is_message = matches!(
                wait,
                WaitReason::ChannelReceive
                    | WaitReason::BroadcastReceive
                    | WaitReason::Notify
                    | WaitReason::WatchChanged
            );
            is_message || wait.end() == WaitEnd::Idle
        };
        task.state == State::Waiting && !waits.is_empty() && waits.iter().all(is_work)
    }

    /// Returns these tasks; `None` if one of them is not in the dump.
    pub(super) fn parties(&self, parties: &[Party]) -> Option<Vec<&'a Task>> {
        self.parties.tasks(parties)
    }

    /// Returns whether one of these is inside a poll, or is a thread outside of `block_on`.
    pub(super) fn runs(&self, parties: &[Party]) -> bool {
        parties.iter().any(|party| match self.parties.task(*party) {
            Some(task) => matches!(task.state, State::Running { .. }),
            None => true,
        })
    }

    /// Returns the lock that a thread waits for, if others have it in memory.
    pub(super) fn lock_of(&self, tid: i32) -> Option<&'a Shared> {
        let waits = |shared: &&Shared| shared.waiters.contains(&Party::Thread { tid });
        let mut locks = self
            .dump
            .shared
            .iter()
            .filter(|shared| shared.kind == SharedKind::Lock);
        locks.find(waits)
    }

    /// Iterates over the threads with the address of something in memory that do not wait for it.
    pub(super) fn threads_with(&self, shared: &'a Shared) -> impl Iterator<Item = &'a Thread> {
        let others = shared.others.iter();
        let others = others.filter(|other| !shared.waiters.contains(other));
        others.filter_map(|party| match party {
            Party::Thread { tid } => self.dump.thread(*tid),
            Party::Task { .. } | Party::BlockOn { .. } => None,
        })
    }

    /// Describes a thread: `thread 17 (flusher) [sleep] at src/main.rs:21`.
    pub(super) fn thread(&self, thread: &Thread) -> String {
        let mut text = thread_name(thread);
        if let Some(wait) = self.wait_of(thread) {
            text = format!("{text} [{wait}]");
        }
        match self.place_in(self.stack(thread)) {
            Some(place) => format!("{text} at {place}"),
            None => text,
        }
    }

    /// Returns the tasks proven to hold something, or else all that may, if the list is complete.
    pub(super) fn holders(&self, shared: &Shared) -> Option<Vec<&'a Task>> {
        let parties = match (shared.holders.is_empty(), shared.is_complete) {
            (false, _) => &shared.holders,
            (true, true) => &shared.others,
            (true, false) => return None,
        };
        self.parties
            .tasks(parties)
            .filter(|tasks| !tasks.is_empty())
    }

    /// Returns what a thread waits for, if known.
    pub(super) fn wait_of(&self, thread: &Thread) -> Option<WaitReason> {
        let links = self.stack(thread);
        self.frames.thread_wait(links, thread.state, thread.syscall)
    }
}

/// Whether a thread waits in the kernel. If its state was not read, being in a system call counts.
pub(super) fn is_asleep(thread: &Thread) -> bool {
    match thread.state {
        Some(state) => matches!(state, 'S' | 'D'),
        None => thread.syscall.is_some_and(|call| call >= 0),
    }
}

/// Returns `thread 17 (name)`.
pub(super) fn thread_name(thread: &Thread) -> String {
    match &thread.name {
        Some(name) => format!("thread {} ({name})", thread.tid),
        None => format!("thread {}", thread.tid),
    }
}
