//! Findings as JSON; `docs/operate/json.md` describes every field.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use rtops_report::{
    dump::Dump,
    leaks::{Finding, Subject, deadlock::Deadlock},
    view::LeaksView,
    waits::{Step, WaitsFor},
};
use serde::Serialize;

use super::{
    claims::{ClaimPart, ResourcePart, claim_part, resource_part},
    stack::{
        CorePart, OutsidePart, Process, TaskGroupPart, ThreadGroupPart, outside_part, task_group,
        thread_group,
    },
    verdicts::{VerdictPart, list},
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: Process<'a>,
    complete: bool,
    gaps: &'a [String],
    lacks: &'a [String],
    outside: Option<OutsidePart<'a>>,
    core: Option<CorePart<'a>>,
    /// The time from the first dump, or the baseline, to the last dump.
    watched_seconds: f64,
    dumps: usize,
    tracked_on_tokio: Option<u64>,
    alive_on_tokio: Option<u64>,
    /// Faults that no finding covers.
    verdicts: Vec<VerdictPart<'a>>,
    findings_total: usize,
    findings: Vec<FindingPart<'a>>,
    idle: BTreeMap<&'static str, usize>,
    ignored: usize,
    starved: usize,
    unplaced: usize,
}

#[derive(Serialize)]
struct FindingPart<'a> {
    evidence: &'static str,
    hint: bool,
    why: &'a str,
    /// The number of tasks, threads or circles.
    count: usize,
    tasks: Vec<TaskGroupPart<'a>>,
    threads: Option<ThreadGroupPart<'a>>,
    circle: Option<Vec<StepPart<'a>>>,
    /// How many tasks wait for those in the circles.
    behind: usize,
}

#[derive(Serialize)]
struct StepPart<'a> {
    task: u64,
    /// The task whose end it awaits.
    awaits: Option<u64>,
    /// The resource that it waits for instead.
    waits_for: Option<StepWaitPart<'a>>,
    /// The next task's claim that is in the way.
    held: Option<ClaimPart>,
}

#[derive(Serialize)]
struct StepWaitPart<'a> {
    #[serde(flatten)]
    resource: ResourcePart<'a>,
    #[serde(flatten)]
    claim: ClaimPart,
}

/// Prints the findings as one document.
///
/// # Errors
/// If the writer fails.
pub fn json(writer: &mut impl Write, leaks: &LeaksView) -> io::Result<()> {
    let view = &leaks.view;
    let process = view.dump.process.as_ref();
    let findings = &leaks.findings;
    let document = Document {
        schema: super::SCHEMA,
        process: Process::of(view),
        complete: view.dump.gaps.is_empty(),
        gaps: &view.dump.gaps,
        lacks: &view.lacks,
        outside: outside_part(view.dump),
        core: CorePart::of(view.dump, view.frames),
        watched_seconds: leaks.watched.0.as_secs_f64(),
        dumps: leaks.watched.1,
        tracked_on_tokio: process.and_then(|process| process.tracked_on_tokio),
        alive_on_tokio: process.and_then(|process| process.alive_on_tokio),
        verdicts: list(view.dump, &findings.verdicts),
        findings_total: findings.findings.len(),
        findings: findings
            .findings
            .iter()
            .take(view.limit)
            .map(|finding| part(leaks, finding))
            .collect(),
        idle: findings
            .idle
            .iter()
            .map(|(wait, count)| (wait.as_str(), *count))
            .collect(),
        ignored: findings.ignored,
        starved: findings.starved,
        unplaced: findings.unplaced,
    };
    super::write(writer, &document)
}

fn part<'a>(leaks: &'a LeaksView<'_>, finding: &'a Finding<'_>) -> FindingPart<'a> {
    let view = &leaks.view;
    let mut part = FindingPart {
        evidence: finding.evidence.as_str(),
        hint: finding.evidence.is_hint(),
        why: &finding.why,
        count: 0,
        tasks: Vec::new(),
        threads: None,
        circle: None,
        behind: 0,
    };
    match &finding.subject {
        Subject::Tasks(group) => {
            part.count = group.tasks.len();
            part.tasks.push(task_group(view, group));
        }
        Subject::Threads(group) => {
            part.count = group.threads.len();
            part.threads = Some(thread_group(view, group));
        }
        Subject::Deadlock(deadlock) => {
            part.count = deadlock.count;
            part.behind = deadlock.behind;
            part.tasks
                .extend(deadlock.groups.iter().map(|group| task_group(view, group)));
            part.circle = Some(circle(view.dump, deadlock));
        }
    }
    part
}

fn circle<'a>(dump: &'a Dump, deadlock: &'a Deadlock<'_>) -> Vec<StepPart<'a>> {
    let step = |step: &'a Step<'_>| {
        let (awaits, waits_for) = match step.waits_for {
            WaitsFor::Task(task) => (Some(dump.number(task.key)), None),
            WaitsFor::Shared(..) => (None, None),
            WaitsFor::Resource(resource, claim) => {
                let part = StepWaitPart {
                    resource: resource_part(dump, resource),
                    claim: claim_part(dump, claim),
                };
                (None, Some(part))
            }
        };
        StepPart {
            task: dump.number(step.task.key),
            awaits,
            waits_for,
            held: step.held_by_next.map(|held| claim_part(dump, held)),
        }
    };
    deadlock.example.steps.iter().map(step).collect()
}
