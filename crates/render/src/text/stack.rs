//! Await trees and thread stacks as text, in the style of Go's goroutine dumps.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use rtops_protocol::{TaskKind, WakerState};
use rtops_report::{
    census::{self, Count},
    crash,
    dump::leaf_of,
    escape::escape,
    format,
    frame::Frame,
    frames::Frames,
    group::TaskGroup,
    holders::Holders,
    page,
    remarks::APPROXIMATE,
    selection::Grouping,
    task::{State, Task},
    threads::{self, ThreadGroup},
    tree::Chain,
    view::{View, own_frame},
    words,
};
use rtops_symbols::{Serving, WaitReason};

use super::{
    drawing::{self, Drawing, Source},
    heading, holders, idle,
    labels::numbered,
    verdicts,
};
use crate::{
    style::{Paint, Style},
    wrap,
};

/// The indentation of a heading's first line and of those that continue it.
pub(super) const HANGING: (&str, &str) = ("", "    ");

/// The most lacks of symbols, and names of threads, on one line.
const MAX_IN_A_LINE: usize = 3;

/// The wait reasons of a thread in a blocking method of a lock.
const LOCKS: [WaitReason; 4] = [
    WaitReason::MutexLock,
    WaitReason::RwLockRead,
    WaitReason::RwLockWrite,
    WaitReason::SemaphoreAcquire,
];

/// A task has waited before if its age exceeds the time of its current wait by more than this.
const SETTLING: Duration = Duration::from_secs(1);

/// Prints a line for the process, a block for each group, and what is missing.
///
/// # Errors
/// If the writer fails.
pub fn text(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    head(writer, style, view)?;
    groups(writer, style, view)
}

/// Prints the line for the process, and what is wrong with it.
///
/// # Errors
/// If the writer fails.
pub fn head(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    heading::write(writer, style, view)?;
    verdicts::write(writer, style, view)
}

/// Prints the groups and what is missing; each block has an empty line before it.
///
/// # Errors
/// If the writer fails.
pub fn groups(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    // With a limit of 0, the user knows that groups are not shown; the first line has their number.
    if view.limit == 0 {
        return remarks(writer, style, view);
    }
    if let Some(groups) = &view.tasks {
        let mut is_list = false;
        for group in groups.iter().take(view.limit) {
            let is_line = view.layout.is_brief && idle::is_line(view, group);
            if !(is_line && is_list) {
                writeln!(writer)?;
            }
            is_list = is_line;
            match is_line {
                true => idle::task_group(writer, style, view, group)?,
                false => task_group(writer, style, view, group, &[])?,
            }
        }
        let hidden = groups.get(view.limit..).unwrap_or_default();
        let tasks = hidden.iter().flat_map(|group| &group.tasks);
        let members = Count::of_tasks(tasks.copied()).words("task");
        more(writer, style, hidden.len(), &members)?;
    }
    if let Some(groups) = &view.threads {
        match view.tasks.as_ref().filter(|_| view.layout.is_brief) {
            Some(tasks) => {
                let tasks = tasks.get(..view.limit).unwrap_or(tasks);
                let threads = page::arrange(view.dump, view.frames, tasks, groups);
                thread_groups(writer, style, view, &threads.groups)?;
                idle::threads(writer, style, &threads.idle)?;
            }
            None => thread_groups(writer, style, view, groups)?,
        }
    }
    remarks(writer, style, view)
}

fn thread_groups(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    groups: &[ThreadGroup],
) -> io::Result<()> {
    for group in groups.iter().take(view.limit) {
        writeln!(writer)?;
        thread_group(writer, style, view, group, &[])?;
    }
    let hidden = groups.get(view.limit..).unwrap_or_default();
    let threads = hidden.iter().map(|group| group.threads.len());
    let members = format::count(threads.sum(), "thread");
    more(writer, style, hidden.len(), &members)
}

/// Merges equal lines and adds how often each occurred.
fn counted(lines: Vec<String>) -> Vec<String> {
    let mut known: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match known.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => known.push((line, 1)),
        }
    }
    let lines = known.into_iter().map(|(line, count)| match count {
        1 => line,
        count => format!("{line} ({count} times)"),
    });
    lines.collect()
}

/// Returns what a group is called and what its tasks do, with a colour for how
/// much of a concern that is.
pub(super) fn title(view: &View, group: &TaskGroup) -> (String, String, Paint) {
    let noun = words::noun(group.look.kind);
    let head = match (view.grouping, group.tasks.first()) {
        (Grouping::Each, Some(task)) => numbered(noun, task),
        _ => format::count(group.tasks.len(), noun),
    };
    let paint = match group.look.state {
        State::Never | State::Starved | State::Ready | State::Running { .. } => Paint::Warning,
        State::New
        | State::Waiting
        | State::HeldBack
        | State::Woken
        | State::Submitted
        | State::Queued => Paint::Heading,
    };
    let name = match group.own_function(view.frames) {
        Some(function) => format!("in {}", escape(&function.name)),
        None => words::called(group),
    };
    let head = format!("{head} {name}");
    (head, format!("[{}]", bracket(view, group)), paint)
}

/// Prints a heading, the await tree, where the tasks were spawned, and any remarks.
pub(super) fn task_group(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    group: &TaskGroup,
    remarks: &[String],
) -> io::Result<()> {
    let look = &group.look;
    let (head, bracket, paint) = title(view, group);
    let parts = [
        (Some(Paint::Heading), head.as_str()),
        (Some(paint), bracket.as_str()),
    ];
    wrap::write(writer, style, HANGING, &parts)?;
    let chains = chains(view, group);
    let source = view.source(own_frame(view.frames, &chains));
    let source = source.map(|(frame, text)| Source { frame, text });
    let blocked = match look.state {
        State::Running { .. } => blocked(view, group),
        _ => None,
    };
    let mut drawing = Drawing::of_chains(view.frames, &chains, blocked, source);
    for (spans, why) in [
        (&look.silent, "which registered no waker".to_owned()),
        (&look.held_back, State::HeldBack.sentence()),
    ] {
        if !spans.is_empty() {
            let names: Vec<_> = spans.iter().map(|name| words::quoted(name)).collect();
            drawing.remark(format!("and span {}, {why}", names.join(", ")));
        }
    }
    let mut told = Vec::new();
    let incomplete = group.chains.iter().filter_map(|chain| chain.incomplete);
    let is_approximate = group.chains.iter().any(|chain| chain.approximate);
    let approximate = is_approximate.then_some(APPROXIMATE);
    for remark in incomplete.chain(approximate).chain(look.remark) {
        if !told.contains(&remark) {
            told.push(remark);
            let short = look.unresolved.map(|why| why.short);
            drawing.remark(said(view, remark, short));
        }
    }
    let threads = group.tasks.iter().filter_map(|task| task.block_on());
    let threads: Vec<String> = threads.map(|tid| tid.to_string()).collect();
    if !threads.is_empty() {
        let noun = if threads.len() == 1 {
            "thread"
        } else {
            "threads"
        };
        drawing.remark(format!("polled by {noun} {}", threads.join(", ")));
    }
    for line in claims(&view.holders, group) {
        drawing.remark(line);
    }
    if let Some(code) = look.code.as_ref().filter(|_| group.chains.is_empty()) {
        drawing.remark(format!("its code is at {}", escape(&code.to_string())));
    }
    if let Some(site) = &look.site {
        let verb = match look.kind {
            TaskKind::Task | TaskKind::Blocking | TaskKind::BlockOn => "spawned",
            TaskKind::Span => "tracked",
        };
        drawing.remark(format!("{verb} at {}", escape(&site.to_string())));
    }
    for remark in remarks {
        drawing.remark(remark.clone());
    }
    drawing.write(writer, style)
}

/// Returns a remark; if it was made before, only its beginning with a short reason.
fn said(view: &View, remark: &str, short: Option<&str>) -> String {
    let is_new = view.layout.is_new(remark);
    match remark.split_once(": ").filter(|_| !is_new) {
        Some((begins, _)) => {
            let end = if begins.starts_with('(') { ")" } else { "" };
            format!("{begins}: {}{end}", short.unwrap_or("as above"))
        }
        None => remark.to_owned(),
    }
}

/// Returns lines about who holds what the tasks wait for, and who waits for what they hold.
pub(super) fn claims(holders: &Holders, group: &TaskGroup) -> Vec<String> {
    let tasks = || group.tasks.iter();
    let waits = tasks().flat_map(|task| holders.waits(task.key));
    let mut lines = counted(holders::held_by(holders, waits.copied()));
    let holds = tasks().flat_map(|task| holders.holds(task.key));
    lines.extend(holders::holds(
        holders,
        holds.copied(),
        group.tasks.len() == 1,
    ));
    lines
}

fn bracket(view: &View, group: &TaskGroup) -> String {
    let what = match group.look.state {
        State::Woken => woken(view, group),
        State::Running { tid } => running(view, group, tid),
        State::Waiting if group.chains.is_empty() && group.look.is_tracked => {
            "waiting, not captured".to_owned()
        }
        State::Waiting => doing(view, group),
        state => state.sentence(),
    };
    let (Some((shortest, longest)), Some((youngest, oldest))) = (group.times(), group.ages())
    else {
        return what;
    };
    let time = range(shortest, longest);
    // A task needs a moment to reach its first wait.
    let has_moved = oldest
        .saturating_sub(longest)
        .max(youngest.saturating_sub(shortest))
        > SETTLING;
    let mut text = match group.look.state {
        // These words already contain the time.
        State::Running { .. } => what,
        _ => format!("{what}, {time}"),
    };
    if has_moved {
        text = format!("{text}; age {}", range(youngest, oldest));
    }
    if view.grouping == Grouping::Each
        && let Some(task) = group.tasks.first().and_then(|task| task.tracked())
    {
        let polls = usize::try_from(task.polls).unwrap_or(usize::MAX);
        text = format!("{text}; {}", format::count(polls, "poll"));
    }
    text
}

/// Returns what tasks wait for at the places that are shown.
fn doing(view: &View, group: &TaskGroup) -> String {
    let mut waits = group.waits();
    let chains = chains(view, group);
    if view.frames.is_folded() && chains.len() > 1 {
        let shown = drawing::waits(view.frames, &chains);
        waits.retain(|wait| shown.contains(wait));
    }
    let doing = match waits.is_empty() {
        true => group.doing(),
        false => WaitReason::words(&waits),
    };
    match group.serving() {
        Some(Serving::Handler) if group.look.name.is_none() => format!("in handler: {doing}"),
        _ => doing,
    }
}

/// Returns the chains of a group that are shown.
fn chains<'a>(view: &View, group: &'a TaskGroup) -> Cow<'a, [Chain]> {
    match view.frames.is_folded() {
        true => group.telling(),
        false => Cow::Borrowed(&group.chains),
    }
}

/// Formats a range of times, or a single time if both ends read the same.
pub(super) fn range(least: Duration, most: Duration) -> String {
    let (least, most) = (format::duration(least), format::duration(most));
    if least == most {
        most
    } else {
        format!("{least} … {most}")
    }
}

/// Says where a woken task resumes, if known. A new task looks the same unless it has wakers.
fn woken(view: &View, group: &TaskGroup) -> String {
    let was_polled = |task: &&Task| matches!(task.waker, WakerState::Held(_));
    let what = match group.tasks.iter().all(was_polled) {
        true => "woken, resumes",
        false => "woken or new, goes on",
    };
    let chains = group.chains.iter();
    let mut frames = chains.filter_map(|chain| innermost(view.frames, chain));
    match (frames.next(), group.chains.len()) {
        (Some(frame), 1) => {
            let place = frame.place.as_ref().map(ToString::to_string);
            format!(
                "{what} at {}",
                escape(place.as_deref().unwrap_or(&frame.name))
            )
        }
        (Some(_), chains) => format!("{what} at one of {chains} places"),
        (None, _) => "woken or new, and about to be polled".to_owned(),
    }
}

/// Returns the own frame that awaits what the task waits for, or else the innermost frame.
pub(super) fn innermost<'f>(frames: &'f Frames, chain: &Chain) -> Option<&'f Frame> {
    let first = || frames.of_links(&chain.links).next();
    frames.innermost_own(&chain.links).or_else(first)
}

/// Returns what most of the threads wait for that run the tasks. If the stacks do not show the
/// tasks, the threads may wait for something else, so nothing is returned.
fn blocked(view: &View, group: &TaskGroup) -> Option<WaitReason> {
    if group.chains.is_empty() {
        return None;
    }
    let tids = group.tasks.iter().filter_map(|task| task.state.thread());
    let threads = tids.filter_map(|tid| view.dump.thread(tid));
    let standing = threads.filter(|thread| thread.state != Some('R'));
    let waits = standing.filter_map(|thread| threads::wait_of(thread, view.frames));
    let waits = format::commonest(waits.map(|wait| (wait, 1)));
    let mut waits = waits.into_iter().map(|(wait, _)| wait);
    waits.find(|wait| *wait != WaitReason::Running)
}

/// Says on which threads the tasks run, for how long, and what blocks the threads that do not run.
pub(super) fn running(view: &View, group: &TaskGroup, tid: Option<i32>) -> String {
    let since = group.times().map_or_else(String::new, |(_, longest)| {
        format!(" for {}", format::duration(longest))
    });
    // Tasks that run on several threads are at the same place.
    let blocked = tid.and_then(|tid| view.blocked(tid));
    let blocked = blocked.map_or_else(String::new, |blocked| format!(", {blocked}"));
    if group.tasks.len() > 1 {
        return format!("running{since} on {} threads{blocked}", group.tasks.len());
    }
    let Some(tid) = tid else {
        return format!("running{since} on a thread that is not known");
    };
    let running = match view
        .dump
        .thread(tid)
        .and_then(|thread| thread.name.as_deref())
    {
        Some(name) => format!("running{since} on thread {tid} ({})", escape(name)),
        None => format!("running{since} on thread {tid}"),
    };
    format!("{running}{blocked}")
}

/// Prints a heading, the stack, and any remarks.
pub(super) fn thread_group(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    group: &ThreadGroup,
    remarks: &[String],
) -> io::Result<()> {
    let crash = group.killed_by(view.dump);
    let names = group.names();
    let head = match group.threads.as_slice() {
        [thread, ..] if view.grouping == Grouping::Each => format!("thread {}", thread.tid),
        [thread] if crash.is_some() || names.is_empty() => format!("thread {}", thread.tid),
        threads => format::count(threads.len(), "thread"),
    };
    let shown = format::first(MAX_IN_A_LINE, &names, "name", |(name, count)| match count {
        1 => words::quoted(name),
        _ if names.len() == 1 => words::quoted(name),
        _ => format!("{} ×{count}", words::quoted(name)),
    });
    let crashed = crash.map(|signal| format!("killed by {}", crash::name(signal.number)));
    let wait = group.wait.filter(|_| crash.is_none());
    let state = group
        .state()
        .filter(|state| Some(*state) != wait.map(WaitReason::as_str) && crash.is_none());
    let wait = wait.map(|wait| match group.threads.as_slice() {
        [only] => match view.blocks_on(wait, only.tid) {
            Some(future) => format!("{wait}: {future}"),
            None => wait.to_string(),
        },
        _ => wait.to_string(),
    });
    let words = [crashed.as_deref(), state, wait.as_deref()];
    let words = words.into_iter().flatten();
    let words: Vec<&str> = words.collect();
    let mut title = head;
    if !shown.is_empty() {
        title = format!("{title} {}", shown.join(", "));
    }
    if !words.is_empty() {
        title = format!("{title} [{}]", words.join(", "));
    }
    let paint = match crash {
        Some(_) => Paint::Warning,
        None => Paint::Heading,
    };
    wrap::write(writer, style, HANGING, &[(Some(paint), &title)])?;
    let source = view.source(view.frames.innermost_own(&group.links));
    let source = source.map(|(frame, text)| Source { frame, text });
    let mut drawing = Drawing::of_links(view.frames, &group.links, group.wait, source);
    for line in claims_of_threads(&view.holders, group) {
        drawing.remark(line);
    }
    if let Some(remark) = &group.remark {
        drawing.remark(escape(&said(view, remark, None)).into_owned());
    }
    if group.approximate {
        drawing.remark(APPROXIMATE.to_owned());
    }
    for remark in remarks {
        drawing.remark(remark.clone());
    }
    drawing.write(writer, style)
}

/// Returns lines about who holds what the threads wait for, if the threads themselves wait: a
/// thread that polls tasks does not, although one of its tasks may.
fn claims_of_threads(holders: &Holders, group: &ThreadGroup) -> Vec<String> {
    if !matches!(group.wait, Some(wait) if LOCKS.contains(&wait)) {
        return Vec::new();
    }
    let threads = group.threads.iter();
    let waits = threads.flat_map(|thread| holders.waits_of_thread(thread.tid));
    holders::held_by(holders, waits.copied())
}

/// Prints how many groups are not shown, and how many members they have.
pub(super) fn more(
    writer: &mut impl Write,
    style: Style,
    hidden: usize,
    members: &str,
) -> io::Result<()> {
    if hidden == 0 {
        return Ok(());
    }
    let groups = format::count(hidden, "more group");
    let text = format!("({groups} of {members} not shown; raise --limit to see them)");
    writeln!(writer)?;
    wrap::write(writer, style, HANGING, &[(Some(Paint::Faint), &text)])
}

/// Prints what is missing and what would add more.
pub(super) fn remarks(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    let notes = notes(view);
    let told = view.dump.untracked_not_shown();
    let gaps = view.dump.gaps.iter();
    let gaps: Vec<&String> = gaps.filter(|gap| Some(*gap) != told.as_ref()).collect();
    if !gaps.is_empty() || !notes.is_empty() {
        writeln!(writer)?;
    }
    for gap in gaps {
        let text = format!("incomplete: {}", escape(gap));
        wrap::write(writer, style, HANGING, &[(Some(Paint::Warning), &text)])?;
    }
    for note in notes {
        wrap::write(writer, style, HANGING, &[(Some(Paint::Faint), &note)])?;
    }
    Ok(())
}

fn notes(view: &View) -> Vec<String> {
    let mut notes = Vec::new();
    if view.ageless > 0 && view.dump.core.is_none() {
        notes.push(format!(
            "{} left out: how long they have waited is not known",
            format::count(view.ageless, "untracked task")
        ));
    }
    notes.extend(crash::lacks_tokio(view.dump).map(str::to_owned));
    notes.extend(kept(view));
    if lacks_block_on(view) {
        notes.push(
            "the future in block_on is not a task: use rtops_agent::block_on or .tracked(\"main\") \
             to see it"
                .to_owned(),
        );
    }
    if !view.lacks.is_empty() {
        let escaped = |lack: &String| escape(lack).into_owned();
        let lacks = format::first(MAX_IN_A_LINE, &view.lacks, "module", escaped);
        notes.push(format!("more could be shown: {}", lacks.join("; ")));
    }
    notes
}

/// Says how many ended tasks are kept by their join handles, by type.
fn kept(view: &View) -> Option<String> {
    let by_type = census::kept_by_type(view.dump, view.frames);
    let total: usize = by_type.iter().map(|kept| kept.count).sum();
    if total == 0 || view.tasks.is_none() {
        return None;
    }
    let types = format::first(MAX_IN_A_LINE, &by_type, "type", |kept| {
        let future = rtops_symbols::display_type(&kept.future_type);
        format!("{} x {}", kept.count, escape(&future))
    });
    let tasks = match total {
        1 => "1 ended task is kept by its join handle".to_owned(),
        total => format!("{total} ended tasks are kept by their join handles"),
    };
    Some(format!("{tasks}: {}", types.join(", ")))
}

/// Whether a thread sleeps in tokio's `block_on` with an untracked future. A tracked
/// future in `block_on` has no runtime.
fn lacks_block_on(view: &View) -> bool {
    if view.dump.is_image() || view.threads.is_none() {
        return false;
    }
    let is_block_on = |name: &str| name.starts_with("tokio::") && name.ends_with("::block_on");
    let blocked = view.dump.threads.iter().filter(|thread| {
        let stack = leaf_of(thread).map_or(&[][..], |leaf| view.frames.stack(leaf.stack));
        let mut frames = view.frames.of_links(stack);
        thread.state != Some('R') && frames.any(|frame| is_block_on(&frame.name))
    });
    let tracked = view.dump.tasks.iter().filter(|task| {
        let has_no_runtime = task.tracked().is_some_and(|task| task.runtime.0 == 0);
        has_no_runtime && task.kind == TaskKind::Task
    });
    blocked.count() > tracked.count()
}
