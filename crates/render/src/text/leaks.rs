//! Findings as text: the words for the evidence, what leaks as in a dump, and why.

use std::io::{self, Write};

use rtops_protocol::{Claim, ClaimMode, ClaimRole, Resource, ResourceKind};
use rtops_report::{
    census::Count,
    format,
    leaks::{Finding, Subject, deadlock::Deadlock},
    view::{LeaksView, View},
    waits::{Step, WaitsFor},
};

use super::{heading, holders, labels, stack, verdicts};
use crate::style::{Paint, Style};

const INDENT: &str = "    ";

/// A line for the process, a block for each finding, and what was left out.
///
/// # Errors
/// When the writer fails.
pub fn text(writer: &mut impl Write, style: Style, leaks: &LeaksView) -> io::Result<()> {
    let view = &leaks.view;
    heading::counted(writer, style, view, &summary(leaks))?;
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
    let findings = leaks.findings;
    let serious = findings.serious();
    let hints = findings.hints();
    let mut text = match (serious, hints) {
        (0, 0) => "no findings".to_owned(),
        (0, hints) => format::count(hints, "hint"),
        (serious, 0) => format::count(serious, "finding"),
        (serious, hints) => format!(
            "{} and {}",
            format::count(serious, "finding"),
            format::count(hints, "hint")
        ),
    };
    let dump = leaks.view.dump;
    let mut judged = Count::of(dump, leaks.view.frames).parts("task");
    judged.push(format::count(dump.threads.len(), "thread"));
    text = format!("{text} in {}", format::list(judged));
    let (time, dumps) = leaks.watched;
    let time = format::duration(time);
    if leaks.is_compared {
        text = format!("{text}, compared with {time} before");
    } else if dumps > 1 {
        text = format!("{text}, watched for {time}");
    }
    text
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

/// Who holds what since when, and where each waits; then the tasks as in a dump.
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

/// What a task of a circle holds, which the one before it waits for, and what it waits for.
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
        WaitsFor::Task(task) => format!(
            "waits for the end of {}, for {}",
            labels::named_task(view.dump, task),
            format::duration(step.task.since().unwrap_or_default())
        ),
        WaitsFor::Shared(shared, reason) => {
            let who = match shared.holders.is_empty() {
                true => "shared with",
                false => "held by",
            };
            format!("waits ({reason}) for what is {who} the next one, as memory tells")
        }
    });
    lines
}

/// What of a resource is claimed: `a read of rwlock<Routes> #7`.
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
    let findings = leaks.findings;
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
