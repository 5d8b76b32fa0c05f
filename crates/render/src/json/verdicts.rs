//! Faults as JSON.

use rtops_report::{
    dump::Dump,
    task::Task,
    verdicts::{Fault, Verdict, Verdicts},
};
use serde::Serialize;

/// Everything that one look shows.
#[derive(Debug, Serialize)]
pub struct VerdictsPart<'a> {
    verdicts: Vec<VerdictPart<'a>>,
    notable: &'a [String],
    /// `null` if everything was judged.
    not_judged: Option<&'a str>,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(super) struct VerdictPart<'a> {
    fault: Fault,
    sentence: &'a str,
    evidence: &'a [String],
    /// The tasks that cause it.
    tasks: Vec<u64>,
    /// The tasks that suffer from it.
    victims: Vec<u64>,
    /// The threads that cause it.
    threads: &'a [i32],
}

impl<'a> VerdictsPart<'a> {
    /// Returns the part for a dump.
    pub fn of(dump: &Dump, judged: &'a Verdicts) -> Self {
        Self {
            verdicts: list(dump, &judged.verdicts),
            notable: &judged.notable,
            not_judged: judged.not_judged.as_deref(),
        }
    }
}

/// Returns faults, strongest evidence first.
pub(super) fn list<'a>(dump: &Dump, verdicts: &'a [Verdict]) -> Vec<VerdictPart<'a>> {
    let ids = |tasks: &[&Task]| tasks.iter().map(|task| dump.number(task.key)).collect();
    let parts = verdicts.iter().map(|verdict| VerdictPart {
        fault: verdict.fault,
        sentence: &verdict.sentence,
        evidence: &verdict.evidence,
        tasks: ids(&verdict.tasks),
        victims: ids(&verdict.victims),
        threads: &verdict.threads,
    });
    parts.collect()
}
