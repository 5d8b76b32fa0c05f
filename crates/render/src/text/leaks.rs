//! Findings as text: the word for the evidence, what leaks, shown as in a dump, and why.

use std::io::{self, Write};

use rtops_protocol::{Claim, ClaimMode, ClaimRole, Resource, ResourceKind};
use rtops_report::{
    census::Count,
    format,
    leaks::{Finding, Subject, deadlock::Deadlock},
    verdicts::unplaced_sentence,
    view::{LeaksView, Part, View},
    waits::{Step, WaitsFor},
};

use super::{
    heading, holders, labels,
    stack::{self, HANGING},
    verdicts,
};
use crate::{
    style::{Paint, Style},
    wrap,
};

const INDENT: &str = "    ";

/// Prints a line for the process, a block for each finding, and what was left out. The first of two
/// parts ends with what comes next; the second begins with what it adds.
///
/// # Errors
/// If the writer fails.
pub fn text(writer: &mut impl Write, style: Style, leaks: &LeaksView) -> io::Result<()> {
    let view = &leaks.view;
    match leaks.part {
        Part::Whole | Part::First { .. } => {
            heading::counted(writer, style, view, &summary(leaks))?;
        }
        Part::Rest { told, over } => {
            let text = rest(leaks, told, over);
            writeln!(writer)?;
            wrap::write(writer, style, HANGING, &[(Some(Paint::Heading), &text)])?;
        }
    }
    verdicts::each(writer, style, &leaks.findings.verdicts)?;
    for finding in leaks.findings.findings.iter().take(view.limit) {
        writeln!(writer)?;
        one(writer, style, view, finding)?;
    }
    let hidden = leaks.findings.findings.len().saturating_sub(view.limit);
    if hidden > 0 {
        let findings = format::count(hidden, "more finding");
        let text = format!("({findings} not shown; raise --limit to see them)");
        writeln!(writer, "\n{}", style.paint(Paint::Faint, text))?;
    }
    if let Part::First { watch } = leaks.part {
        let watch = format::duration(watch);
        let text = format!(
            "watching for {watch} now, as one look does not tell what grows, stays or spins; Ctrl-C ends it"
        );
        writeln!(writer)?;
        return wrap::write(writer, style, HANGING, &[(Some(Paint::Faint), &text)]);
    }
    let notes = notes(leaks);
    if !notes.is_empty() {
        writeln!(writer)?;
    }
    for note in notes {
        writeln!(writer, "{}", style.paint(Paint::Faint, note))?;
    }
    stack::remarks(writer, style, view)
}

fn summary(leaks: &LeaksView) -> String {
    let text = found(leaks, "").unwrap_or_else(|| "no findings".to_owned());
    let judged = judged(leaks);
    let (time, dumps) = leaks.watched;
    let time = format::duration(time);
    match leaks.part {
        Part::First { .. } => format!("{text} in one look at {judged}"),
        _ if leaks.is_compared => format!("{text} in {judged}, compared with {time} before"),
        _ if dumps > 1 => format!("{text} in {judged}, watched for {time}"),
        _ => format!("{text} in {judged}"),
    }
}

/// Says what a watch adds to the report of its first look, and how much of that no longer holds.
fn rest(leaks: &LeaksView, told: usize, over: usize) -> String {
    let (time, dumps) = leaks.watched;
    let more = if told == 0 { "" } else { "more " };
    let found = match found(leaks, more) {
        Some(found) => found,
        None if told == 0 => "no findings".to_owned(),
        None => "nothing more".to_owned(),
    };
    let watched = match dumps {
        1 => "there was no later look".to_owned(),
        dumps => format!("watched for {}, in {dumps} looks", format::duration(time)),
    };
    let text = format!("{watched}: {found} in {}", judged(leaks));
    match over {
        0 => text,
        over if over == told => format!("{text}; what is said above is so no longer"),
        over => format!(
            "{text}; {over} of the {told} above {} so no longer",
            match over {
                1 => "is",
                _ => "are",
            }
        ),
    }
}

/// Returns `2 more findings and 1 hint`.
fn found(leaks: &LeaksView, more: &str) -> Option<String> {
    let serious = leaks.findings.serious();
    let hints = leaks.findings.hints();
    let serious = (serious > 0).then(|| format::count(serious, &format!("{more}finding")));
    let more = if serious.is_some() { "" } else { more };
    let hints = (hints > 0).then(|| format::count(hints, &format!("{more}hint")));
    let found: Vec<String> = serious.into_iter().chain(hints).collect();
    (!found.is_empty()).then(|| format::list(found))
}

/// Returns the number of tasks and threads that were judged.
fn judged(leaks: &LeaksView) -> String {
    let dump = leaks.view.dump;
    let mut judged = Count::of(dump, leaks.view.frames).parts("task");
    judged.push(format::count(dump.threads.len(), "thread"));
    format::list(judged)
}

fn one(writer: &mut impl Write, style: Style, view: &View, finding: &Finding) -> io::Result<()> {
    let word = if finding.evidence.is_hint() {
        format!("hint, {}", finding.evidence.as_str())
    } else {
        finding.evidence.as_str().to_owned()
    };
    let why = [format!("why: {}", finding.why)];
    write!(writer, "{}: ", style.paint(Paint::Warning, word))?;
    match &finding.subject {
        Subject::Tasks(group) => stack::task_group(writer, style, view, group, &why),
        Subject::Threads(group) => stack::thread_group(writer, style, view, group, &why),
        Subject::Deadlock(deadlock) => story(writer, style, view, deadlock, &finding.why),
    }
}

/// Prints who holds what for how long and where each task waits; then the tasks as in a dump.
fn story(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    deadlock: &Deadlock,
    why: &str,
) -> io::Result<()> {
    writeln!(writer, "{}", style.paint(Paint::Heading, why))?;
    let steps = &deadlock.example.steps;
    let before = steps.iter().cycle().skip(steps.len().saturating_sub(1));
    for (step, before) in steps.iter().zip(before) {
        let task = labels::named_task(view.dump, step.task);
        writeln!(writer, "{INDENT}{}", style.paint(Paint::Heading, task))?;
        for line in lines(view, step, before) {
            writeln!(writer, "{INDENT}{INDENT}{line}")?;
        }
    }
    for group in &deadlock.groups {
        writeln!(writer)?;
        stack::task_group(writer, style, view, group, &[])?;
    }
    Ok(())
}

/// Returns what a task of a circle holds that the previous one waits for, and
/// what it waits for itself.
fn lines(view: &View, step: &Step, before: &Step) -> Vec<String> {
    let mut lines = Vec::new();
    if let (WaitsFor::Resource(resource, _), Some(held)) = (before.waits_for, before.held_by_next)
        && held.role == ClaimRole::Holder
    {
        lines.push(format!(
            "holds {} for {}, taken at {}",
            claimed(view, resource, held),
            format::nanoseconds(held.since_ns),
            holders::place(view.dump, held.site)
        ));
    }
    lines.push(match step.waits_for {
        WaitsFor::Resource(resource, claim) => {
            let next = step.held_by_next.map(|next| next.role);
            let queue = match next {
                Some(ClaimRole::Waiter) => ", behind the next one, which waits for it, too",
                _ => "",
            };
            format!(
                "waits for {} for {}, at {}{queue}",
                claimed(view, resource, claim),
                format::nanoseconds(claim.since_ns),
                holders::place(view.dump, claim.site)
            )
        }
        WaitsFor::Task(task) => {
            let task = labels::named_task(view.dump, task);
            match step.task.since() {
                Some(since) => format!(
                    "waits for the end of {task}, for {}",
                    format::duration(since)
                ),
                None => format!("waits for the end of {task}"),
            }
        }
        WaitsFor::Shared(shared, reason) => {
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let whose = match shared.holders.is_empty() {
                _ if step.task.key == before.task.key => "it has itself",
                true => "is shared with the next one",
                false => "is held by the next one",
            };
            format!("waits{reason} for what {whose}, as memory tells")
        }
    });
    lines
}

/// Returns what is claimed of a resource: `a read of rwlock<Routes> #7`.
fn claimed(view: &View, resource: &Resource, claim: &Claim) -> String {
    let name = format!("{} #{}", holders::what(view.dump, resource), resource.id);
    match (resource.kind, claim.mode) {
        (ResourceKind::RwLock, ClaimMode::Shared) => format!("a read of {name}"),
        (ResourceKind::RwLock, ClaimMode::Exclusive) => format!("a write of {name}"),
        (ResourceKind::Semaphore, _) => {
            format!("{} of {name}", holders::count_permits(claim.permits))
        }
        _ => name,
    }
}

fn notes(leaks: &LeaksView) -> Vec<String> {
    let findings = &leaks.findings;
    let mut notes = Vec::new();
    let idle: usize = findings.idle.values().sum();
    if idle > 0 {
        let kinds = findings.idle.iter();
        let kinds: Vec<String> = kinds
            .map(|(wait, count)| format!("{count} {wait}"))
            .collect();
        notes.push(format!(
            "{} for what services without work wait for: {}",
            match idle {
                1 => "1 task waits".to_owned(),
                idle => format!("{idle} tasks wait"),
            },
            kinds.join(", ")
        ));
    }
    if findings.ignored > 0 {
        notes.push(format!("{} ignored, as you wished", findings.ignored));
    }
    if findings.unplaced > 0 {
        let unplaced = unplaced_sentence(findings.unplaced);
        notes.push(format!("{unplaced}, and so not judged"));
    }
    if findings.starved > 0 {
        let tasks = format::count(findings.starved, "task");
        notes.push(format!(
            "{tasks} can't be judged: woken, but their executor has no thread for them"
        ));
    }
    let dump = leaks.view.dump;
    if let Some(process) = &dump.process
        && let (Some(tracked), Some(alive)) = (process.tracked_on_tokio, process.alive_on_tokio)
        && alive > tracked
        && !dump.is_image()
    {
        notes.push(format!(
            "only the {tracked} tracked of {alive} tasks alive were judged; spawn the others \
             with rtops_agent::spawn, or track them"
        ));
    }
    notes
}
