//! Faults as JSON.

use rtops_report::{
    dump::Dump,
    task::Task,
    verdicts::{Fault, Verdict, Verdicts},
};
use serde::Serialize;

/// All that one look tells.
#[derive(Debug, Serialize)]
pub struct VerdictsPart<'a> {
    verdicts: Vec<VerdictPart<'a>>,
    notable: &'a [String],
    /// Absent where everything was judged.
    not_judged: Option<&'a str>,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(super) struct VerdictPart<'a> {
    fault: Fault,
    sentence: &'a str,
    evidence: &'a [String],
    /// The tasks that are the cause.
    tasks: Vec<u64>,
    /// Those that suffer.
    victims: Vec<u64>,
    /// The threads that are the cause.
    threads: &'a [i32],
}

impl<'a> VerdictsPart<'a> {
    /// That of a dump.
    pub fn of(dump: &Dump, judged: &'a Verdicts) -> Self {
        Self {
            verdicts: list(dump, &judged.verdicts),
            notable: &judged.notable,
            not_judged: judged.not_judged.as_deref(),
        }
    }
}

/// Faults, the strongest evidence first.
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
