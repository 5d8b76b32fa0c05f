//! A task of a dump and what is known about it, from its agent or from memory.

use std::time::Duration;

use rtops_protocol::{
    self as protocol, FoundBy, Leaf, Obtained, SourceLocation, StringId, TaskKind, TaskState,
    TraceId, Unresolved, UntrackedLeaf, UntrackedState, WakerState,
};

/// How many levels of spans are followed outwards: their numbers come from the
/// target and may form a cycle.
pub const MAX_NESTING: usize = 64;

/// Identifies a task within its dump.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TaskKey {
    /// The number assigned by the agent, unique in the process.
    Tracked(u64),
    /// Its position among the untracked tasks of the dump.
    Untracked(u32),
}

impl TaskKey {
    /// Returns the key of a tracked task from its number in a message, where 0 means none.
    pub(crate) fn tracked(id: u64) -> Option<Self> {
        (id != 0).then_some(Self::Tracked(id))
    }
}

/// A task, a span inside one, or a closure on a blocking pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Task {
    /// Identifies the task within the dump.
    pub key: TaskKey,
    /// The kind of task.
    pub kind: TaskKind,
    /// What the task is doing.
    pub state: State,
    /// Whether anything can wake it.
    pub waker: WakerState,
    /// One stack for each place where the task waits, or the stack of the thread that polls it.
    pub leaves: Vec<Leaf>,
    /// A stepped poll of the task.
    pub trace: Option<TraceId>,
    /// How the task is known, with the facts that only that source has.
    pub origin: Origin,
}

/// How a task is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// An agent tracks it.
    Tracked(Tracked),
    /// It was found in the memory of the process.
    Untracked(Untracked),
}

/// What an agent knows about a task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tracked {
    /// The agent's number for it, unique in the process and never reused.
    pub id: u64,
    /// The task or span that it was made in or that polls it.
    pub parent: Option<TaskKey>,
    /// The name it was given.
    pub name: StringId,
    /// The type of its future.
    pub future_type: StringId,
    /// Where it was spawned or tracked.
    pub site: SourceLocation,
    /// The name of the tokio runtime that polls it.
    pub runtime: StringId,
    /// The time since it was made.
    pub age: Duration,
    /// How long it has been in its state.
    pub since: Duration,
    /// How many times it was polled.
    pub polls: u64,
    /// How its leaves were obtained.
    pub obtained: Obtained,
    /// Identifies its future in memory.
    pub mark: u64,
    /// Where the waker of its latest poll points.
    pub waker_at: Option<u64>,
    /// Whether all its wakers were dropped unused between two dumps.
    pub lost_wakers: bool,
    /// Whether the task or span that spawned it was dropped before this one ended.
    pub is_orphan: bool,
    /// What was found in memory about it at the same time.
    pub memory: Option<Memory>,
    /// Whether it was polled after the process stood still, in which case the agent does not say
    /// how long it had been in its state at that time.
    pub has_moved: bool,
}

impl Tracked {
    /// Whether the agent probed it for the dump.
    #[must_use]
    pub fn was_probed(&self) -> bool {
        self.obtained == Obtained::Probed
    }
}

/// What the memory of a process shows about any task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Memory {
    /// tokio's number for it, if it can be read.
    pub number: Option<u64>,
    /// Which copy of tokio in the program it belongs to, from 0.
    pub tokio: u32,
    /// The address of its cell, if known.
    pub cell: Option<u64>,
    /// Whether a handle can still join or abort it.
    pub has_join_handle: bool,
    /// How the places where it waits were found.
    pub found_by: FoundBy,
    /// The thread that polls it inside `block_on`, if it is not a task.
    pub block_on: Option<i32>,
    /// The largest number of wakers that can exist.
    pub wakers: u32,
    /// The places where it waits.
    pub leaves: Vec<UntrackedLeaf>,
    /// Where each of its polls wakes the task itself instead of waiting, if it was
    /// being polled or about to be.
    pub wakes_itself: Option<Leaf>,
}

/// What is known about a task that was found only in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Untracked {
    /// What memory shows about any task.
    pub memory: Memory,
    /// The mark found in its future if that is tracked.
    pub mark: Option<u64>,
    /// The marks of the tracked futures that its poll polled.
    pub polled: Vec<u64>,
    /// The functions that poll it.
    pub polls: Polls,
}

/// The functions that poll a future; they stand for its type.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Polls {
    /// The address of the one that tokio calls.
    pub poll: u64,
    /// If the future is a box, the address of the one for its contents.
    pub boxed: Option<u64>,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Not polled yet.
    New,
    /// Waiting to be woken.
    Waiting,
    /// Between two parts, and nobody asks for the next one.
    HeldBack,
    /// Waiting without a waker: nothing can wake it.
    Never,
    /// Woken, but not polled by the dump's deadline.
    Starved,
    /// Woken a moment ago, or new; known from memory.
    Woken,
    /// What it waits for is ready, but nobody has woken it; known from memory.
    Ready,
    /// A closure on a blocking pool that runs or waits for a thread; untracked tasks only.
    Submitted,
    /// A closure on a blocking pool that waits for a thread; untracked tasks only.
    Queued,
    /// Inside a poll.
    Running {
        /// The thread that polls it, if known.
        tid: Option<i32>,
    },
}

impl State {
    /// Returns the thread that polls it now, if known.
    #[must_use]
    pub const fn thread(self) -> Option<i32> {
        match self {
            Self::Running { tid } => tid,
            _ => None,
        }
    }

    /// Whether it was polled and now waits to be woken.
    #[must_use]
    pub const fn is_suspended(self) -> bool {
        matches!(self, Self::Waiting | Self::HeldBack | Self::Never)
    }
}

impl Task {
    /// Returns the thread that polls it inside `block_on`, if it is not a task.
    #[must_use]
    pub fn block_on(&self) -> Option<i32> {
        self.memory()?.block_on
    }

    /// Returns what an agent knows about it, if it is tracked.
    #[must_use]
    pub const fn tracked(&self) -> Option<&Tracked> {
        match &self.origin {
            Origin::Tracked(tracked) => Some(tracked),
            Origin::Untracked(_) => None,
        }
    }

    /// Returns what memory shows about it, if it is untracked.
    #[must_use]
    pub const fn untracked(&self) -> Option<&Untracked> {
        match &self.origin {
            Origin::Tracked(_) => None,
            Origin::Untracked(untracked) => Some(untracked),
        }
    }

    /// Returns what was found about it in memory.
    #[must_use]
    pub const fn memory(&self) -> Option<&Memory> {
        match &self.origin {
            Origin::Tracked(tracked) => tracked.memory.as_ref(),
            Origin::Untracked(untracked) => Some(&untracked.memory),
        }
    }

    /// Returns how the places where it waits were found; `None` if they come from its agent.
    #[must_use]
    pub fn found_by(&self) -> Option<FoundBy> {
        let is_told = self.tracked().is_some_and(|tracked| {
            let is_running = matches!(self.state, State::Running { .. });
            let was_asked = tracked.was_probed() && !self.leaves.is_empty() && self.trace.is_none();
            tracked.memory.is_none() || is_running || was_asked
        });
        (!is_told).then_some(self.memory()?.found_by)
    }

    /// Whether all that is known about it comes from its agent, at a time after
    /// the process stood still.
    pub(crate) fn has_moved(&self) -> bool {
        let tracked = self.tracked();
        tracked.is_some_and(|tracked| tracked.has_moved && tracked.memory.is_none())
    }

    /// Whether memory does not show where it waits, while its agent may find out by probing it.
    pub(crate) fn is_unread(&self) -> bool {
        let found_by = self.memory().map(|memory| memory.found_by);
        let has_failed = matches!(
            found_by,
            None | Some(FoundBy::Unresolved(
                Unresolved::Locked
                    | Unresolved::Fault
                    | Unresolved::Instruction
                    | Unresolved::OtherStack
                    | Unresolved::NoThread
            ))
        );
        let waits = matches!(self.state, State::Waiting | State::Never);
        waits && has_failed && self.tracked().is_some_and(|tracked| !tracked.was_probed())
    }

    /// Returns the task or span that it was made in or that polls it, if known.
    #[must_use]
    pub fn parent(&self) -> Option<TaskKey> {
        self.tracked()?.parent
    }

    /// Returns how long it has been in its state, if known.
    #[must_use]
    pub fn since(&self) -> Option<Duration> {
        let tracked = self.tracked()?;
        let is_older = tracked.has_moved && tracked.memory.is_some();
        (!is_older).then_some(tracked.since)
    }

    /// Returns the name it was given; the number of no text if it has none.
    #[must_use]
    pub fn name(&self) -> StringId {
        self.tracked().map_or(StringId(0), |tracked| tracked.name)
    }

    /// Returns where it was spawned or tracked, if known.
    pub(crate) fn site(&self) -> Option<SourceLocation> {
        Some(self.tracked()?.site)
    }

    pub(crate) fn of_tracked(task: protocol::Task) -> Self {
        let state = match (task.state, task.waker) {
            (TaskState::New { .. }, _) => State::New,
            (TaskState::Running { tid, .. }, _) => State::Running { tid: Some(tid) },
            (TaskState::Starved { .. }, _) => State::Starved,
            (TaskState::HeldBack { .. }, _) => State::HeldBack,
            (TaskState::Suspended { .. }, WakerState::None) => State::Never,
            (TaskState::Suspended { .. }, _) => State::Waiting,
        };
        Self {
            key: TaskKey::Tracked(task.id),
            kind: task.kind,
            state,
            waker: task.waker,
            leaves: task.leaves,
            trace: None,
            origin: Origin::Tracked(Tracked {
                id: task.id,
                parent: TaskKey::tracked(task.parent),
                name: task.name,
                future_type: task.future_type,
                site: task.site,
                runtime: task.runtime,
                age: Duration::from_nanos(task.age_ns),
                since: Duration::from_nanos(task.state.since_ns()),
                polls: task.polls,
                obtained: task.obtained,
                mark: task.mark,
                waker_at: task.cell,
                lost_wakers: task.lost_wakers,
                is_orphan: task.is_orphan,
                memory: None,
                has_moved: false,
            }),
        }
    }

    /// Returns `None` if the task has ended.
    pub(crate) fn of_untracked(place: u32, task: protocol::Untracked) -> Option<Self> {
        let state = match (task.state, task.wakers) {
            (UntrackedState::Completed, _) => return None,
            (UntrackedState::Idle, 0) => State::Never,
            (UntrackedState::Idle, _) if task.found_by == FoundBy::Ready => State::Ready,
            (UntrackedState::Idle | UntrackedState::BlockOn { .. }, _) => State::Waiting,
            (UntrackedState::Running { tid }, _) => State::Running { tid },
            (UntrackedState::Queued, _) => State::Queued,
            (UntrackedState::Blocking { tid: None }, _) => State::Submitted,
            (UntrackedState::Blocking { tid }, _) => State::Running { tid },
            _ => State::Woken,
        };
        Some(Self {
            key: TaskKey::Untracked(place),
            kind: match task.state {
                UntrackedState::Blocking { .. } | UntrackedState::Queued => TaskKind::Blocking,
                UntrackedState::BlockOn { .. } => TaskKind::BlockOn,
                _ => TaskKind::Task,
            },
            state,
            waker: match (task.state, task.wakers) {
                (UntrackedState::Idle, 0) => WakerState::None,
                (UntrackedState::Idle, wakers) => WakerState::Held(wakers),
                // One waker is the one that queued it. A new task has only that; a task
                // with more was polled before.
                (UntrackedState::Woken, wakers @ 2..) => WakerState::Held(wakers - 1),
                _ => WakerState::NotKnown,
            },
            leaves: task.leaves.iter().map(|place| place.leaf).collect(),
            trace: task.trace,
            origin: Origin::Untracked(Untracked {
                memory: Memory {
                    number: task.number,
                    tokio: task.tokio,
                    cell: task.cell,
                    has_join_handle: task.has_join_handle,
                    found_by: task.found_by,
                    block_on: match task.state {
                        UntrackedState::BlockOn { tid } => Some(tid),
                        _ => None,
                    },
                    wakers: task.wakers,
                    leaves: task.leaves,
                    wakes_itself: task.wakes_itself,
                },
                mark: task.mark,
                polled: task.polled,
                polls: Polls {
                    poll: task.poll,
                    boxed: task.boxed_poll,
                },
            }),
        })
    }
}
