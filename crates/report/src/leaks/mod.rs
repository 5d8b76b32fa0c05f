//! Finds tasks and threads that will never end, with the evidence.
//!
//! [`sample`] holds what is kept of each dump of a watch, and [`growth`] compares samples. `rules`
//! judges the tasks of the last dump and `threads` its threads; both leave `idioms` alone.
//! [`deadlock`] puts the circles of [`waits`](crate::waits) into words. [`told`] remembers what an
//! earlier look showed. Each task is in at most one finding, the one with the strongest evidence.

pub mod deadlock;
pub mod growth;
pub(crate) mod idioms;
mod kept;
mod rested;
mod rules;
pub mod sample;
mod threads;
pub mod told;

use std::{collections::BTreeMap, time::Duration};

use regex::Regex;
use rtops_protocol::TaskKind;
use rtops_symbols::{WaitEnd, WaitReason};

use crate::{
    dump::Dump,
    frames::Frames,
    group::{TaskGroup, group_tasks},
    selection::{Grouping, Selection},
    task::State,
    threads::{ThreadGroup, group_threads},
    verdicts::{Verdict, Verdicts, unplaced},
    waits::Waits,
};
use deadlock::{Deadlock, deadlocks};
use rules::Judging;
use sample::{Sample, Watch};

/// Why something is considered a leak, strongest reason first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Evidence {
    /// Nothing can wake it, by the contract of `Future`.
    Proven,
    /// It waits in a circle for itself.
    Deadlock,
    /// Tasks like it increase, and none of them ends.
    Growing,
    /// It has not moved for long, but should have.
    Stuck,
    /// It has been inside one poll for long.
    Spinning,
    /// A hint only: the task or span that spawned it was cancelled.
    Orphaned,
}

impl Evidence {
    /// Returns the word for it in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Deadlock => "deadlock",
            Self::Growing => "growing",
            Self::Stuck => "stuck",
            Self::Spinning => "spinning",
            Self::Orphaned => "orphaned",
        }
    }

    /// Whether it is only a reason to look closer.
    pub const fn is_hint(self) -> bool {
        matches!(self, Self::Orphaned)
    }
}

/// Tasks or threads that leak for the same cause.
#[derive(Debug)]
pub struct Finding<'a> {
    /// Why they are considered a leak.
    pub evidence: Evidence,
    /// The same as a sentence, with figures.
    pub why: String,
    /// What leaks.
    pub subject: Subject<'a>,
}

/// What leaks.
#[derive(Debug)]
pub enum Subject<'a> {
    /// Tasks with the same await tree and spawn site.
    Tasks(Box<TaskGroup<'a>>),
    /// Threads with the same stack.
    Threads(ThreadGroup<'a>),
    /// Tasks that wait for one another.
    Deadlock(Deadlock<'a>),
}

/// The criteria for judging.
#[derive(Clone, Debug)]
pub struct Judge {
    /// A wait shorter than this is not suspicious in itself.
    pub min_age: Duration,
    /// Tasks and threads with a matching name, function or file are left out.
    pub ignore: Vec<Regex>,
}

/// The result of judging.
#[derive(Debug, Default)]
pub struct Findings<'a> {
    /// The findings, strongest evidence first, then by number.
    pub findings: Vec<Finding<'a>>,
    /// How many tasks without a finding wait for what an idle service waits for, by wait reason.
    pub idle: BTreeMap<WaitReason, usize>,
    /// How many tasks and threads were left out at the user's request.
    pub ignored: usize,
    /// How many tasks their executor has no thread for; nothing can be said about them.
    pub starved: usize,
    /// How many tasks wait for something unknown because the program has no debug info.
    pub unplaced: usize,
    /// Faults in the last dump that no finding covers.
    pub verdicts: Vec<Verdict<'a>>,
}

impl<'a> Findings<'a> {
    /// Iterates over the groups of tasks in findings.
    pub fn groups(&self) -> impl Iterator<Item = &TaskGroup<'a>> {
        self.findings
            .iter()
            .flat_map(|finding| match &finding.subject {
                Subject::Tasks(group) => std::slice::from_ref(&**group),
                Subject::Deadlock(deadlock) => &deadlock.groups,
                Subject::Threads(_) => &[],
            })
    }

    /// Iterates over the groups of threads in findings.
    pub fn thread_groups(&self) -> impl Iterator<Item = &ThreadGroup<'a>> {
        let findings = self.findings.iter();
        findings.filter_map(|finding| match &finding.subject {
            Subject::Threads(group) => Some(group),
            Subject::Tasks(_) | Subject::Deadlock(_) => None,
        })
    }

    /// Returns the number of faults and of findings that are more than a hint.
    pub fn serious(&self) -> usize {
        self.findings.len() - self.hints() + self.verdicts.len()
    }

    /// Returns the number of findings that are only a hint.
    pub fn hints(&self) -> usize {
        let findings = self.findings.iter();
        let hints = findings.filter(|finding| finding.evidence.is_hint());
        hints.count()
    }
}

/// Judges the last dump of a watch.
pub fn find<'a>(
    dump: &'a Dump,
    frames: &Frames,
    waits: &Waits<'a>,
    watch: &Watch,
    judge: &Judge,
) -> Findings<'a> {
    let everything = Selection::default();
    let mut findings = Findings::default();
    let mut groups = group_tasks(dump, frames, &everything, Grouping::Equal);
    groups.retain(|group| {
        let keep = !is_ignored(judge, frames, group);
        if !keep && group.look.kind == TaskKind::Task {
            findings.ignored += group.tasks.len();
        }
        keep
    });
    let circles = deadlocks(dump, waits, &groups);
    let Verdicts { mut verdicts, .. } = Verdicts::beside(&circles, dump, frames, waits, &groups);
    groups.retain(|group| group.look.kind == TaskKind::Task);
    let now = Sample::of(dump);
    let mut judging = Judging::new(dump, &now, watch, judge, &groups, frames);
    judging.proven(&mut findings.findings);
    judging.deadlocks(circles, &mut findings.findings);
    judging.growing(&mut findings.findings);
    judging.stuck(&mut findings.findings);
    judging.spinning(&mut findings.findings);
    judging.stayed(&mut findings.findings);
    judging.yielding(&mut findings.findings);
    judging.restless(&mut findings.findings);
    judging.not_driven(&mut findings.findings);
    judging.orphaned(&mut findings.findings);
    verdicts.retain(|verdict| !judging.covers(verdict));
    verdicts.extend(kept::growing(dump, frames, watch));
    findings.verdicts = verdicts;
    findings.unplaced = unplaced(&groups);
    for group in &groups {
        let left = judging.left(group);
        match group.look.state {
            State::Starved => findings.starved += left,
            State::Waiting => {
                let mut waits = group.waits().into_iter();
                if let Some(idle) = waits.find(|wait| is_idle(*wait))
                    && left > 0
                {
                    *findings.idle.entry(idle).or_default() += left;
                }
            }
            State::New
            | State::Never
            | State::HeldBack
            | State::Woken
            | State::Ready
            | State::Submitted
            | State::Queued
            | State::Running { .. } => {}
        }
    }
    let mut threads = group_threads(dump, frames, &everything, Grouping::Equal);
    threads.retain(|group| {
        let keep = !ignores_thread(judge, frames, group);
        if !keep {
            findings.ignored += group.threads.len();
        }
        keep
    });
    findings
        .findings
        .extend(threads::judge(frames, &now, watch, &threads));
    findings.findings.sort_by_key(|finding| finding.evidence);
    findings
}

fn is_idle(wait: WaitReason) -> bool {
    wait.end() == WaitEnd::Idle || wait == WaitReason::Interval
}

fn is_ignored(judge: &Judge, frames: &Frames, group: &TaskGroup) -> bool {
    let mut ignore = judge.ignore.iter();
    ignore.any(|filter| group.look.matches(filter, &group.chains, frames))
}

fn ignores_thread(judge: &Judge, frames: &Frames, group: &ThreadGroup) -> bool {
    judge.ignore.iter().any(|filter| {
        let threads = group.threads.iter();
        let mut names = threads.filter_map(|thread| thread.name.as_deref());
        names.any(|name| filter.is_match(name)) || frames.matches(filter, &group.links)
    })
}
