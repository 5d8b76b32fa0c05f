//! What is wrong with a process, as far as one look shows: the answer before the dump.
//!
//! A verdict names one fault: its cause, the evidence, and how many tasks suffer from it. A task or
//! thread is the cause of at most one fault, the one with the strongest evidence.
//! `facts` names things and their places, `afterwards` knows what threads did since; `threads`,
//! `pool` and `tasks` have the rules.

pub(crate) mod afterwards;
mod facts;
mod forsaken;
mod locks;
mod notable;
mod pool;
mod tasks;
mod threads;

use serde::Serialize;

use crate::{
    dump::Dump,
    format,
    frames::Frames,
    group::TaskGroup,
    leaks::deadlock::{Deadlock, deadlocks},
    remarks,
    task::{State, Task},
    tree::Chain,
    waits::Waits,
};
use facts::Facts;

/// A kind of fault.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// Tasks wait in a circle for themselves.
    Deadlock,
    /// A thread drops a runtime and waits for threads that do not end.
    Shutdown,
    /// All threads of a blocking pool are taken, and closures are queued.
    BlockingPool,
    /// A worker is blocked inside a poll, to the harm of its runtime.
    BlockedWorker,
    /// Tasks are polled again and again without progress.
    Livelock,
    /// All units of something are held by tasks that wait for work.
    Exhausted,
    /// Nothing can wake the task.
    Never,
    /// What the task waited for is ready, but nobody has woken it.
    LostWakeUp,
    /// The task was woken, but no thread polls it.
    Starved,
    /// A task waits without polling what it has begun.
    NotPolled,
    /// Ended tasks are kept in growing numbers; only a watch shows it.
    Kept,
}

impl Fault {
    /// Returns the word for it in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::Shutdown => "shutdown waits",
            Self::BlockingPool => "blocking pool full",
            Self::BlockedWorker => "blocked worker",
            Self::Livelock => "livelock",
            Self::Exhausted => "exhausted",
            Self::Never => "never",
            Self::LostWakeUp => "lost wake-up",
            Self::Starved => "starved",
            Self::NotPolled => "not polled",
            Self::Kept => "results not taken",
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One fault, cause first.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// What is wrong.
    pub fault: Fault,
    /// The cause, as a sentence.
    pub sentence: String,
    /// The evidence, one sentence each.
    pub evidence: Vec<String>,
    /// The tasks that cause it.
    pub tasks: Vec<&'a Task>,
    /// The tasks that suffer from it.
    pub victims: Vec<&'a Task>,
    /// The threads that cause it.
    pub threads: Vec<i32>,
}

impl<'a> Verdict<'a> {
    pub(crate) const fn new(fault: Fault, sentence: String) -> Self {
        Self {
            fault,
            sentence,
            evidence: Vec::new(),
            tasks: Vec::new(),
            victims: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Iterates over the tasks that cause it and those that suffer from it.
    pub fn explained(&self) -> impl Iterator<Item = &'a Task> {
        self.tasks.iter().chain(&self.victims).copied()
    }
}

/// Everything that one look shows.
#[derive(Debug, Default)]
pub struct Verdicts<'a> {
    /// The verdicts, strongest evidence first.
    pub verdicts: Vec<Verdict<'a>>,
    /// Sentences about what is no fault in itself but deserves a look.
    pub notable: Vec<String>,
    /// A sentence about what this look can't judge; `None` if it judged everything.
    pub not_judged: Option<String>,
}

impl<'a> Verdicts<'a> {
    /// Judges a dump. `groups` are all of its tasks, with equal ones grouped.
    pub fn of(
        dump: &'a Dump,
        frames: &Frames,
        waits: &Waits<'a>,
        groups: &[TaskGroup<'a>],
    ) -> Self {
        let circles = deadlocks(dump, waits, groups);
        Self::beside(&circles, dump, frames, waits, groups)
    }

    /// Does the same for a caller that already has the circles of these groups.
    pub(crate) fn beside(
        circles: &[Deadlock<'a>],
        dump: &'a Dump,
        frames: &Frames,
        waits: &Waits<'a>,
        groups: &[TaskGroup<'a>],
    ) -> Self {
        let mut facts = Facts::new(dump, frames, groups);
        let mut verdicts = Vec::new();
        verdicts.extend(threads::shutdown(&mut facts));
        verdicts.extend(tasks::deadlocks(&mut facts, waits, circles));
        verdicts.extend(pool::full(&mut facts));
        verdicts.extend(threads::spinning_on(&mut facts));
        verdicts.extend(threads::blocked_workers(&mut facts));
        verdicts.extend(tasks::exhausted(&mut facts, waits));
        verdicts.extend(tasks::never(&mut facts, waits));
        verdicts.extend(forsaken::forsaken(&mut facts, waits));
        verdicts.extend(tasks::lost_wake_ups(&mut facts));
        verdicts.extend(tasks::livelock(&mut facts));
        verdicts.extend(tasks::starved(&mut facts));
        verdicts.extend(tasks::not_polled(&mut facts));
        verdicts.sort_by_key(|verdict| verdict.fault);
        Self {
            notable: notable::of(&facts, &verdicts),
            not_judged: not_judged(dump, groups),
            verdicts,
        }
    }
}

/// Returns what was not judged, in one line.
fn not_judged(dump: &Dump, groups: &[TaskGroup]) -> Option<String> {
    let unplaced = match unplaced(groups) {
        0 => None,
        some => Some(unplaced_sentence(some)),
    };
    let parts = [unplaced, unaged(dump, groups)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns the sentence about this many tasks that wait at an unknown place.
#[must_use]
pub fn unplaced_sentence(tasks: usize) -> String {
    match tasks {
        1 => "what 1 task waits for is not known".to_owned(),
        some => format!("what {some} tasks wait for is not known"),
    }
}

/// Returns how many tasks wait at an unknown place, as in a program without debug info.
pub(crate) fn unplaced(groups: &[TaskGroup]) -> usize {
    let is_unplaced = |group: &&TaskGroup| {
        let lacks_line = |chain: &Chain| chain.incomplete == Some(remarks::NO_LINE);
        let is_cut = group.look.unresolved.is_some() || group.chains.iter().any(lacks_line);
        group.look.state == State::Waiting && group.waits().is_empty() && is_cut
    };
    let groups = groups.iter().filter(is_unplaced);
    groups.map(|group| group.tasks.len()).sum()
}

/// Says how many tasks have an unknown age.
fn unaged(dump: &Dump, groups: &[TaskGroup]) -> Option<String> {
    let tasks = || groups.iter().flat_map(|group| &group.tasks);
    let ageless = tasks().filter(|task| task.since().is_none()).count();
    if ageless == 0 {
        return None;
    }
    let outside = dump.outside.as_ref();
    let has_agent = outside.is_some_and(|outside| outside.agent_told_after_ns.is_some());
    let ages = match tasks().count() - ageless {
        0 if dump.core.is_some() => "ages are unknown".to_owned(),
        0 if has_agent => "ages of untracked tasks are unknown".to_owned(),
        0 => "ages are unknown without the agent".to_owned(),
        _ => format!(
            "the ages of {} are unknown",
            format::count(ageless, "untracked task")
        ),
    };
    let is_live = dump.core.is_none() && dump.saved.is_none();
    Some(match is_live {
        true => format!("{ages}, so \"stuck\" needs `rtops leaks`"),
        false => format!("{ages}, so none is called stuck"),
    })
}
