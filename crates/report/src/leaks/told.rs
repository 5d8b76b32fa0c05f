//! Remembers what one look showed, so that the end of a watch reports only the rest.

use std::collections::HashSet;

use super::{Evidence, Finding, Findings, Subject, sample::Identity};
use crate::{
    task::Task,
    verdicts::{Fault, Verdict},
};

/// The findings and faults that one look showed.
#[derive(Debug, Default)]
pub struct Told(Vec<Tale>);

/// One finding or fault.
#[derive(Debug)]
struct Tale {
    kind: Kind,
    whose: HashSet<Whose>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Finding(Evidence),
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Whose {
    Task(Identity),
    Thread(i32),
}

impl Told {
    /// Records all findings and faults.
    #[must_use]
    pub fn of(findings: &Findings) -> Self {
        let faults = findings.verdicts.iter().map(of_verdict);
        let findings = findings.findings.iter().map(of_finding);
        Self(faults.chain(findings).collect())
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Removes what was already reported for the same tasks and threads. Returns how
    /// many reports no longer hold.
    pub fn take_from(&self, findings: &mut Findings) -> usize {
        let now = Self::of(findings);
        let is_new = |tale: &Tale| !self.0.iter().any(|told| told.tells(tale));
        findings
            .verdicts
            .retain(|verdict| is_new(&of_verdict(verdict)));
        findings
            .findings
            .retain(|finding| is_new(&of_finding(finding)));
        let is_over = |told: &&Tale| !now.0.iter().any(|tale| tale.is_about(told));
        self.0.iter().filter(is_over).count()
    }
}

impl Tale {
    /// Whether it covers all of another one.
    fn tells(&self, other: &Self) -> bool {
        self.kind == other.kind && !other.whose.is_empty() && other.whose.is_subset(&self.whose)
    }

    /// Whether another one is of the same kind and about some of the same tasks or threads.
    fn is_about(&self, other: &Self) -> bool {
        self.kind == other.kind && !self.whose.is_disjoint(&other.whose)
    }
}

fn of_finding(finding: &Finding) -> Tale {
    let whose = match &finding.subject {
        Subject::Tasks(group) => tasks(&group.tasks).collect(),
        Subject::Threads(group) => {
            let threads = group.threads.iter();
            threads.map(|thread| Whose::Thread(thread.tid)).collect()
        }
        Subject::Deadlock(deadlock) => {
            let groups = deadlock.groups.iter();
            groups.flat_map(|group| tasks(&group.tasks)).collect()
        }
    };
    Tale {
        kind: Kind::Finding(finding.evidence),
        whose,
    }
}

fn of_verdict(verdict: &Verdict) -> Tale {
    let threads = verdict.threads.iter().map(|tid| Whose::Thread(*tid));
    Tale {
        kind: Kind::Fault(verdict.fault),
        whose: tasks(&verdict.tasks).chain(threads).collect(),
    }
}

fn tasks<'t>(tasks: &'t [&Task]) -> impl Iterator<Item = Whose> + 't {
    let tasks = tasks.iter();
    tasks.filter_map(|task| Identity::of(task).map(Whose::Task))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(verdicts: &[(Fault, &[i32])]) -> Findings<'static> {
        let verdicts = verdicts.iter().map(|(fault, threads)| {
            let mut verdict = Verdict::new(*fault, String::new());
            verdict.threads = threads.to_vec();
            verdict
        });
        Findings {
            verdicts: verdicts.collect(),
            ..Findings::default()
        }
    }

    #[test]
    fn what_was_told_is_not_told_again_and_what_is_over_is_counted() {
        use Fault::{BlockedWorker, Kept, Livelock, Shutdown};
        let told = Told::of(&findings(&[
            (BlockedWorker, &[1, 2]),
            (Livelock, &[3]),
            (Shutdown, &[4]),
        ]));
        let mut later = findings(&[
            (BlockedWorker, &[2]),
            // One thread more, so it is reported again.
            (Livelock, &[3, 5]),
            // A different fault, and one without threads.
            (BlockedWorker, &[3]),
            (Kept, &[]),
        ]);
        let over = told.take_from(&mut later);
        let left: Vec<_> = later
            .verdicts
            .iter()
            .map(|one| one.threads.clone())
            .collect();
        assert_eq!(left, [vec![3, 5], vec![3], vec![]]);
        assert_eq!(over, 1);
    }
}
