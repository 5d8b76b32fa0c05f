//! The line for the process: how many tasks and threads there are, and what is unknown.

use std::{
    io::{self, Write},
    time::Duration,
};

use rtops_protocol::{Outside, Process, TaskKind};
use rtops_report::{
    census::Count, crash, dump::Dump, escape::escape, format, group::TaskGroup,
    selection::Grouping, view::View,
};

use super::{stack::HANGING, verdicts};
use crate::{
    style::{Paint, Style},
    wrap,
};

/// Prints the line for the process.
pub(super) fn write(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    let parts = [tasks_summary(view), threads_summary(view)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    counted(writer, style, view, &parts.join("; "))
}

/// Prints the counts for a process, after its name or below what ended it, and what is not shown.
pub(super) fn counted(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    counts: &str,
) -> io::Result<()> {
    match crash::sentence(view.dump, view.frames) {
        Some(head) => {
            wrap::write(writer, style, HANGING, &[(Some(Paint::Heading), &head)])?;
            wrap::write(writer, style, HANGING, &[(None, counts)])?;
        }
        None => {
            let process = format!("{} (pid {}):", escape(view.name), view.pid);
            let parts = [(Some(Paint::Heading), process.as_str()), (None, counts)];
            wrap::write(writer, style, HANGING, &parts)?;
        }
    }
    let outside = view.dump.outside.iter().map(looked_at);
    let judged = view.verdicts.iter().filter(|_| verdicts::shows_all(view));
    let not_judged = judged.filter_map(|judged| judged.not_judged.clone());
    for line in outside.chain(not_judged) {
        wrap::write(
            writer,
            style,
            HANGING,
            &[(Some(Paint::Faint), &escape(&line))],
        )?;
    }
    not_attached(writer, style, view)
}

/// Says what it cost the process to be inspected from outside.
fn looked_at(outside: &Outside) -> String {
    let pause = Duration::from_nanos(outside.pause_ns).as_secs_f64() * 1e3;
    let without = match outside.agent_told_after_ns {
        Some(_) => "",
        None => ", without an agent",
    };
    let mut text = format!("looked at from outside{without}; it stood still for {pause:.1} ms");
    if let Some(why) = &outside.read_standing {
        text = format!("{text}, and was read meanwhile: {why}");
    }
    if outside.threads_not_stopped > 0 {
        let threads = usize::try_from(outside.threads_not_stopped).unwrap_or(usize::MAX);
        let threads = format::count(threads, "thread");
        text = format!("{text}; {threads} could not be stopped, and nothing is known of them");
    }
    text
}

/// Prints what is missing, or else only the reason, if the process was not inspected from outside.
fn not_attached(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    let missing = view.dump.untracked_not_shown();
    // Runtimes unknown to the agent may still have tasks.
    let line = missing.map(|line| (Paint::Warning, line)).or_else(|| {
        let why = view.dump.why_not_attached()?;
        Some((Paint::Faint, format!("not looked at from outside: {why}")))
    });
    match line {
        Some((paint, line)) => {
            wrap::write(writer, style, HANGING, &[(Some(paint), &escape(&line))])
        }
        None => Ok(()),
    }
}

fn tasks_summary(view: &View) -> Option<String> {
    let groups = view.tasks.as_ref()?;
    let tasks = groups.iter().flat_map(|group| &group.tasks);
    let shown = Count::of_tasks(tasks.copied());
    let noun = if others_are_unknown(view.dump) {
        "tracked task"
    } else {
        "task"
    };
    let mut text = shown.of_all(Count::of(view.dump, view.frames), noun);
    if view.grouping == Grouping::Equal {
        text = format!("{text} in {}", format::count(groups.len(), "group"));
    }
    if view.dump.core.is_some() && view.ageless > 0 {
        let left_out = view.ageless;
        text = format!("{text} ({left_out} left out: a core file tells no ages)");
    }
    let process = view.dump.process.as_ref();
    if let Some(alive) = process.and_then(|process| process.alive_on_tokio)
        && alive > 0
    {
        let known = view.dump.known_on_tokio();
        let verb = if view.dump.is_image() { "" } else { "tracked " };
        // A task may end between the two counts.
        text = format!("{text}, {verb}{known} of {} alive", alive.max(known));
    }
    for (what, is_seen) in [("only by type", false), ("seen in part", true)] {
        let such = groups
            .iter()
            .filter(|group| group.chains.is_empty() != is_seen);
        if let Some((total, reasons)) = reasons(such) {
            text = format!("{text}; {total} {what}: {reasons}");
        }
    }
    Some(text)
}

/// Whether there may be unknown untracked tasks: the process was not inspected from outside,
/// and no runtime counts its tasks.
fn others_are_unknown(dump: &Dump) -> bool {
    let is_counted = |process: &Process| process.alive_on_tokio.is_some();
    dump.untracked_not_shown().is_some() && !dump.process.as_ref().is_some_and(is_counted)
}

/// Returns for how many tasks it is unknown, or only partly known, where they wait, and why.
fn reasons<'a>(groups: impl Iterator<Item = &'a TaskGroup<'a>>) -> Option<(usize, String)> {
    let tasks = groups.filter(|group| group.look.kind == TaskKind::Task);
    let reasons = format::commonest(
        tasks.filter_map(|group| Some((group.look.unresolved?.short, group.tasks.len()))),
    );
    let total: usize = reasons.iter().map(|(_, count)| count).sum();
    let parts = reasons.iter().map(|(why, count)| format!("{count} {why}"));
    let parts: Vec<String> = parts.collect();
    (total > 0).then(|| (total, parts.join(", ")))
}

fn threads_summary(view: &View) -> Option<String> {
    let groups = view.threads.as_ref()?;
    let total = view.dump.threads.len();
    let shown: usize = groups.iter().map(|group| group.threads.len()).sum();
    let threads = format::count(total, "thread");
    Some(if shown == total {
        threads
    } else {
        format!("{shown} of {threads}")
    })
}
