//! The differences between two dumps as text.

use std::io::{self, Write};

use rtops_report::{
    diff::{Change, Changed, Diff, DiffView, Known, Moved, Processes, Subject},
    escape::escape,
    format, words,
};

use crate::style::{Paint, Style};

/// The most places shown for one group.
const MAX_PLACES: usize = 3;

/// Prints how many tasks there were and are, the groups that changed, and the tasks that moved.
///
/// # Errors
/// If the writer fails.
pub fn text(writer: &mut impl Write, style: Style, view: &DiffView) -> io::Result<()> {
    let diff = view.diff;
    head(writer, style, view)?;
    if !diff.groups.is_empty() {
        writeln!(writer)?;
    }
    let digits = |count: usize| count.to_string().len();
    let shown = || diff.groups.iter().take(view.limit);
    let counts = shown().map(|group| digits(group.before).max(digits(group.after)));
    let width = counts.max().unwrap_or(1);
    for changed in shown() {
        group(writer, style, changed, width)?;
    }
    hidden(
        writer,
        style,
        diff.groups.len().saturating_sub(view.limit),
        "more group",
    )?;
    if !diff.moved.is_empty() {
        let heading = "moved: the same tasks, elsewhere";
        writeln!(writer, "\n{}", style.paint(Paint::Heading, heading))?;
    }
    let shown = || diff.moved.iter().take(view.limit);
    let width = shown().map(|moved| digits(moved.count)).max().unwrap_or(1);
    for moved in shown() {
        way(writer, style, moved, width)?;
    }
    hidden(
        writer,
        style,
        diff.moved.len().saturating_sub(view.limit),
        "more way",
    )?;
    remarks(writer, style, view)
}

fn head(writer: &mut impl Write, style: Style, view: &DiffView) -> io::Result<()> {
    let diff = view.diff;
    let later = view
        .time
        .map(|time| format!(", {} later", format::duration(time)));
    let (before, after) = diff.tasks;
    let head = format!(
        "{}{}: {}, {before} before",
        called(view.after),
        later.unwrap_or_default(),
        format::count(after, "task"),
    );
    writeln!(writer, "{}", style.paint(Paint::Heading, head))?;
    writeln!(writer, "{}", summary(diff))?;
    if view.processes == Processes::Different {
        let remark = format!(
            "before, it was {}: of another process, tasks can't be followed",
            called(view.before)
        );
        writeln!(writer, "{}", style.paint(Paint::Faint, remark))?;
    }
    Ok(())
}

fn called(subject: Subject) -> String {
    format!("{} (pid {})", escape(subject.name), subject.pid)
}

/// Returns `2 groups came, 1 went, 3 are as they were; 4 tasks moved`.
fn summary(diff: &Diff) -> String {
    let parts = [Change::Came, Change::Went, Change::Grew, Change::Shrank].map(|change| {
        let groups = diff.groups.iter();
        let count = groups.filter(|changed| changed.change == change).count();
        (count, change.word())
    });
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let is_one = diff.unchanged == 1;
    let rest = (
        diff.unchanged,
        if is_one {
            "is as it was"
        } else {
            "are as they were"
        },
    );
    let mut words: Vec<String> = parts
        .chain((diff.unchanged > 0).then_some(rest))
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match words.first_mut() {
        None => return "no tasks in either".to_owned(),
        Some(first) => {
            let (count, word) = first.split_once(' ').unwrap_or_default();
            let noun = if count == "1" { "group" } else { "groups" };
            *first = format!("{count} {noun} {word}");
        }
    }
    let moved: usize = diff.moved.iter().map(|moved| moved.count).sum();
    let moved = (moved > 0).then(|| format!("; {} moved", format::count(moved, "task")));
    format!("{}{}", words.join(", "), moved.unwrap_or_default())
}

/// Prints `20 → 32  +12  grew    "cart" [mutex lock]  src/main.rs:21`.
fn group(writer: &mut impl Write, style: Style, of: &Changed, width: usize) -> io::Result<()> {
    let Changed { before, after, .. } = of;
    let sign = if before < after { '+' } else { '-' };
    let change = format!("{sign}{}", before.abs_diff(*after));
    let column = width + 1;
    let counts = format!(
        "{before:>width$} → {after:<width$}  {change:>column$}  {:6}",
        of.change.word()
    );
    let counts = match of.change {
        Change::Came | Change::Grew => style.paint(Paint::Warning, counts).to_string(),
        Change::Went | Change::Shrank => counts,
    };
    writeln!(writer, "{counts}  {}", known(style, &of.group))
}

/// Prints how many tasks moved, the group they left, and the group they are in.
fn way(writer: &mut impl Write, style: Style, moved: &Moved, width: usize) -> io::Result<()> {
    let Moved { count, from, to } = moved;
    writeln!(writer, "{count:>width$}  {}", known(style, from))?;
    let to = match name(from) == name(to) {
        true => place(style, to),
        false => known(style, to),
    };
    writeln!(writer, "{:width$}  → {to}", "")
}

fn known(style: Style, known: &Known) -> String {
    format!("{} {}", name(known), place(style, known))
}

fn name(known: &Known) -> String {
    let title = words::title(
        known.name.as_deref(),
        known.future_type.as_deref(),
        known.is_tracked,
    );
    match known.kind {
        "task" => title,
        kind => format!("{title} ({kind})"),
    }
}

/// Returns what is waited for, and where.
fn place(style: Style, known: &Known) -> String {
    let places = known.places.iter().take(MAX_PLACES);
    let places = places.map(|place| format!("  {}", style.place(&escape(place))));
    let more = if known.places.len() > MAX_PLACES {
        "  …"
    } else {
        ""
    };
    format!("[{}]{}{more}", known.doing, places.collect::<String>())
}

fn hidden(writer: &mut impl Write, style: Style, count: usize, what: &str) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let text = format!(
        "({} not shown; raise --limit to see them)",
        format::count(count, what)
    );
    writeln!(writer, "{}", style.paint(Paint::Faint, text))
}

/// Prints what is missing from either dump.
fn remarks(writer: &mut impl Write, style: Style, view: &DiffView) -> io::Result<()> {
    for (which, subject) in [("before", view.before), ("after", view.after)] {
        for gap in subject.gaps {
            let text = format!("incomplete {which}: {}", escape(gap));
            writeln!(writer, "\n{}", style.paint(Paint::Warning, text))?;
        }
    }
    Ok(())
}
