//! Long waits that are normal, because well-known constructions rest that way.

use std::collections::HashSet;

use rtops_symbols::{FrameClass, Place, WaitReason};

use super::sample::kin;
use crate::{
    frame::{Frame, Link},
    frames::Frames,
    group::TaskGroup,
    task::TaskKey,
    threads::ThreadGroup,
};

/// The well-known constructions in one dump.
#[derive(Debug)]
pub(crate) struct Idioms<'f> {
    frames: &'f Frames,
    /// The receivers of messages and the functions in which they receive.
    receivers: HashSet<(Origin, &'f str)>,
    /// Tasks that accept connections.
    acceptors: HashSet<TaskKey>,
}

/// What two tasks or threads share if they are workers of one queue.
#[derive(Debug, Eq, Hash, PartialEq)]
enum Origin {
    /// Where they were spawned.
    Tasks(Option<Place>),
    /// Their name without digits.
    Threads(String),
}

impl<'f> Idioms<'f> {
    fn none(frames: &'f Frames) -> Self {
        Self {
            frames,
            receivers: HashSet::new(),
            acceptors: HashSet::new(),
        }
    }

    pub(crate) fn of_tasks(frames: &'f Frames, groups: &[TaskGroup]) -> Self {
        let mut this = Self::none(frames);
        for group in groups {
            if group.waits().contains(&WaitReason::Accept) {
                let tasks = group.tasks.iter().map(|task| task.key);
                this.acceptors.extend(tasks);
            }
            let own = group.chains.iter();
            let own = own.filter(|chain| chain.wait == Some(WaitReason::ChannelReceive));
            let functions = own.filter_map(|chain| own_function(frames, &chain.links));
            this.receivers
                .extend(functions.map(|function| (tasks_of(group), function)));
        }
        this
    }

    pub(super) fn of_threads(frames: &'f Frames, groups: &[ThreadGroup]) -> Self {
        let mut this = Self::none(frames);
        for group in groups {
            if group.wait == Some(WaitReason::ChannelReceive)
                && let Some(function) = own_function(frames, &group.links)
            {
                let threads = group.threads.iter();
                let names = threads.filter_map(|thread| thread.name.as_deref());
                let origins = names.map(|name| Origin::Threads(kin(name)));
                this.receivers
                    .extend(origins.map(|origin| (origin, function)));
            }
        }
        this
    }

    /// Whether a group waits for its turn at a queue shared by workers: for the lock of a channel
    /// in which another worker waits for the next message, in the same function.
    pub(crate) fn is_shared_queue(&self, group: &TaskGroup) -> bool {
        let mut chains = group.chains.iter();
        group.waits() == [WaitReason::MutexLock]
            && chains.all(|chain| self.receives(tasks_of(group), &chain.links))
    }

    /// Whether a thread of a group does the same.
    pub(super) fn shares_queue(&self, group: &ThreadGroup, name: &str) -> bool {
        group.wait == Some(WaitReason::MutexLock)
            && self.receives(Origin::Threads(kin(name)), &group.links)
    }

    /// Whether another worker of this origin receives in the function that these frames are in.
    fn receives(&self, origin: Origin, links: &[Link]) -> bool {
        own_function(self.frames, links)
            .is_some_and(|function| self.receivers.contains(&(origin, function)))
    }

    /// Whether a task is a server's connection that waits for its client: it reads, and was
    /// spawned by a task that accepts.
    pub(super) fn is_connection(&self, group: &TaskGroup, parent: Option<TaskKey>) -> bool {
        let waits = group.waits();
        let reads = |wait: &WaitReason| {
            use WaitReason as W;
            matches!(wait, W::Read | W::IoReadiness | W::WebsocketReceive)
        };
        parent.is_some_and(|parent| self.acceptors.contains(&parent))
            && !waits.is_empty()
            && waits.iter().all(reads)
    }
}

fn tasks_of(group: &TaskGroup) -> Origin {
    Origin::Tasks(group.look.site.clone())
}

/// Returns the innermost function of the service's own code.
pub(super) fn own_function<'f>(frames: &'f Frames, links: &[Link]) -> Option<&'f str> {
    let is_own = |frame: &&Frame| frame.known.class() == FrameClass::User;
    let own = frames.of_links(links).find(is_own);
    own.map(|frame| frame.name.as_str())
}
