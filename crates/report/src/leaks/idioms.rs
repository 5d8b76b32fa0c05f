//! Long waits that are how well-known constructions rest.

use std::collections::HashSet;

use rtops_symbols::{FrameClass, WaitReason};

use super::sample::kin;
use crate::{
    frames::{Frames, Link, Place},
    group::TaskGroup,
    threads::ThreadGroup,
};

/// The constructions of one dump.
#[derive(Debug, Default)]
pub(super) struct Idioms<'f> {
    /// Who receives where: where the task was spawned, or the kin of a thread; and the function.
    receivers: HashSet<(Option<Origin>, &'f str)>,
    /// Tasks that accept connections.
    acceptors: HashSet<u64>,
}

#[derive(Debug, Eq, Hash, PartialEq)]
enum Origin {
    Task(Place),
    Threads(String),
}

impl<'f> Idioms<'f> {
    pub(super) fn of_tasks(frames: &'f Frames, groups: &[TaskGroup]) -> Self {
        let mut this = Self::default();
        for group in groups {
            let waits = group.waits();
            if waits.contains(&WaitReason::Accept) {
                this.acceptors
                    .extend(group.tasks.iter().map(|task| task.id));
            }
            let own = group.chains.iter();
            let own = own.filter(|chain| chain.wait == Some(WaitReason::ChannelReceive));
            for chain in own {
                this.receivers
                    .extend(receives(frames, &chain.links, task_origin(group)));
            }
        }
        this
    }

    pub(super) fn of_threads(frames: &'f Frames, groups: &[ThreadGroup]) -> Self {
        let mut this = Self::default();
        for group in groups {
            if group.wait == Some(WaitReason::ChannelReceive) {
                let origins = group
                    .threads
                    .iter()
                    .map(|thread| thread_origin(&thread.name));
                let receives = |origin| receives(frames, &group.links, origin);
                this.receivers.extend(origins.flat_map(receives));
            }
        }
        this
    }

    /// Whether a group waits for its turn at a queue that its workers share: the lock of a channel
    /// in which another worker waits, in the same function, for the next message.
    pub(super) fn is_shared_queue(&self, frames: &Frames, group: &TaskGroup) -> bool {
        group.waits() == [WaitReason::MutexLock]
            && group.chains.iter().all(|chain| {
                let function = own_function(frames, &chain.links);
                function.is_some_and(|function| {
                    self.receivers.contains(&(task_origin(group), function))
                })
            })
    }

    /// The same for a thread of a group.
    pub(super) fn shares_queue(&self, frames: &Frames, group: &ThreadGroup, name: &str) -> bool {
        group.wait == Some(WaitReason::MutexLock)
            && own_function(frames, &group.links)
                .is_some_and(|function| self.receivers.contains(&(thread_origin(name), function)))
    }

    /// Whether a task is a server's connection that waits for its client: it reads, and was
    /// spawned by a task that accepts.
    pub(super) fn is_connection(&self, group: &TaskGroup, parent: u64) -> bool {
        let waits = group.waits();
        let reads = |wait: &WaitReason| matches!(wait, WaitReason::Read | WaitReason::IoReadiness);
        self.acceptors.contains(&parent) && !waits.is_empty() && waits.iter().all(reads)
    }
}

fn receives<'f>(
    frames: &'f Frames,
    links: &[Link],
    origin: Option<Origin>,
) -> Option<(Option<Origin>, &'f str)> {
    Some((origin, own_function(frames, links)?))
}

fn task_origin(group: &TaskGroup) -> Option<Origin> {
    group.look.site.clone().map(Origin::Task)
}

fn thread_origin(name: &str) -> Option<Origin> {
    Some(Origin::Threads(kin(name)))
}

/// The innermost function that is the service's own.
pub(super) fn own_function<'f>(frames: &'f Frames, links: &[Link]) -> Option<&'f str> {
    let mut frames = links.iter().filter_map(|link| frames.get(link.frame));
    let own = frames.find(|frame| rtops_symbols::classify(&frame.function) == FrameClass::User);
    own.map(|frame| frame.name.as_str())
}
