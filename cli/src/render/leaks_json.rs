//! Findings as JSON; `docs/json.md` describes every field.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use rtops_report::{
    frames::Place,
    leaks::{
        Finding, Subject,
        deadlock::{Deadlock, kind},
    },
    text::leaks::LeaksView,
    waits::{Step, WaitsFor},
};
use serde::Serialize;

use super::stack_json::{
    PlacePart, Process, TaskGroupPart, ThreadGroupPart, place_part, task_group, thread_group,
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: Process<'a>,
    complete: bool,
    gaps: &'a [String],
    lacks: &'a [String],
    /// From the first dump to the last, or from the baseline.
    watched_seconds: f64,
    dumps: usize,
    tracked_on_tokio: Option<u64>,
    alive_on_tokio: Option<u64>,
    findings_total: usize,
    findings: Vec<FindingPart<'a>>,
    idle: BTreeMap<&'static str, usize>,
    ignored: usize,
    starved: usize,
}

#[derive(Serialize)]
struct FindingPart<'a> {
    evidence: &'static str,
    hint: bool,
    why: &'a str,
    /// How many tasks, threads or circles.
    count: usize,
    tasks: Vec<TaskGroupPart<'a>>,
    threads: Option<ThreadGroupPart<'a>>,
    circle: Option<Vec<StepPart>>,
    /// Tasks that wait for those in the circles.
    behind: usize,
}

#[derive(Serialize)]
struct StepPart {
    task: u64,
    waits_for_task: Option<u64>,
    waits_for_resource: Option<u64>,
    resource_kind: Option<&'static str>,
    value_type: Option<String>,
    waits_at: Option<OwnedPlace>,
    since_ns: u64,
    /// Where the next task of the circle took it, and how long ago.
    taken_at: Option<OwnedPlace>,
    taken_ns: Option<u64>,
}

#[derive(Serialize)]
struct OwnedPlace {
    file: String,
    line: u32,
    column: Option<u32>,
}

/// Prints the findings as one document.
pub fn json(writer: &mut impl Write, leaks: &LeaksView) -> io::Result<()> {
    let view = &leaks.view;
    let process = view.dump.process.as_ref();
    let findings = leaks.findings;
    let document = Document {
        schema: super::SCHEMA,
        process: Process::of(view),
        complete: view.dump.gaps.is_empty(),
        gaps: &view.dump.gaps,
        lacks: &view.lacks,
        watched_seconds: leaks.watched.0.as_secs_f64(),
        dumps: leaks.watched.1,
        tracked_on_tokio: process.map(|process| process.tracked_on_tokio),
        alive_on_tokio: process.map(|process| process.alive_on_tokio),
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
    };
    super::json(writer, &document)
}

fn part<'a>(leaks: &'a LeaksView<'a>, finding: &'a Finding<'a>) -> FindingPart<'a> {
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
            part.circle = Some(circle(leaks, deadlock));
        }
    }
    part
}

fn circle(leaks: &LeaksView, deadlock: &Deadlock) -> Vec<StepPart> {
    let dump = leaks.view.dump;
    let place = |site| {
        let place = Place::of_site(dump, site)?;
        let PlacePart { file, line, column } = place_part(&place);
        Some(OwnedPlace {
            file: file.to_owned(),
            line,
            column,
        })
    };
    let step = |step: &Step| {
        let (resource, claim, task) = match step.waits_for {
            WaitsFor::Resource(resource, claim) => (Some(resource), Some(claim), None),
            WaitsFor::Task(task) => (None, None, Some(task)),
        };
        let value_type = resource.and_then(|resource| dump.string(resource.value_type));
        StepPart {
            task: step.task.id,
            waits_for_task: task.map(|task| task.id),
            waits_for_resource: resource.map(|resource| resource.id),
            resource_kind: resource.map(|resource| kind(resource.kind)),
            value_type: value_type.map(str::to_owned),
            waits_at: claim.and_then(|claim| place(claim.site)),
            since_ns: claim.map_or(step.task.state.since_ns(), |claim| claim.since_ns),
            taken_at: step.held_by_next.and_then(|held| place(held.site)),
            taken_ns: step.held_by_next.map(|held| held.since_ns),
        }
    };
    deadlock.example.steps.iter().map(step).collect()
}
