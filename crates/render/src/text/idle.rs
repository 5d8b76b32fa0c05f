//! Groups that fit on one line: those that wait as in any service at rest, or at one place in
//! a library; and all idle threads.

use std::io::{self, Write};

use rtops_protocol::{TaskKind, Thread};
use rtops_report::{escape::escape, format, group::TaskGroup, task::State, view::View};

use super::stack::{HANGING, claims, title};
use crate::{
    style::{Paint, Style},
    wrap,
};

/// The most places of a group, and names of threads, on one line.
const MAX_IN_A_LINE: usize = 3;

/// Whether everything there is to say about a group fits on one line.
pub(super) fn is_line(view: &View, group: &TaskGroup) -> bool {
    (group.is_idle() || is_at_one_place(view, group))
        && group.chains.iter().all(|chain| chain.count == 1)
        && claims(&view.holders, group).is_empty()
}

/// Whether only a foreign frame is shown of a group, and the type of its future implies that frame.
fn is_at_one_place(view: &View, group: &TaskGroup) -> bool {
    let telling = group.telling();
    let [chain] = telling.as_ref() else {
        return false;
    };
    let is_foreign = matches!(chain.links.as_slice(), [only] if !view.frames.is_own(only));
    let look = &group.look;
    is_foreign
        && look.state == State::Waiting
        && chain.wait.is_some()
        && chain.incomplete.is_none()
        && look.remark.is_none()
        && look.site.is_none()
        && look.silent.is_empty()
        && look.held_back.is_empty()
        && look.kind == TaskKind::Task
}

/// Prints what a group is called, what it waits for, and where.
pub(super) fn task_group(
    writer: &mut impl Write,
    style: Style,
    view: &View,
    group: &TaskGroup,
) -> io::Result<()> {
    let (head, bracket, paint) = title(view, group);
    let mut places: Vec<String> = Vec::new();
    for chain in group.telling().iter() {
        let frame = view.frames.innermost_own(&chain.links);
        let frame = frame.or_else(|| view.frames.of_links(&chain.links).next());
        let place = frame.and_then(|frame| frame.place.as_ref());
        let place = place.map(|place| escape(&place.to_string()).into_owned());
        places.extend(place.filter(|place| !places.contains(place)));
    }
    let places = format::first(MAX_IN_A_LINE, &places, "place", Clone::clone);
    let places = format!("at {}", places.join(", "));
    let mut parts = vec![
        (Some(Paint::Heading), head.as_str()),
        (Some(paint), bracket.as_str()),
    ];
    if places.len() > "at ".len() {
        parts.push((Some(Paint::Faint), &places));
    }
    wrap::write(writer, style, HANGING, &parts)
}

/// Prints `idle: 4 threads (3 tokio-rt-worker, rtops-agent)`.
pub(super) fn threads(
    writer: &mut impl Write,
    style: Style,
    threads: &[&Thread],
) -> io::Result<()> {
    if threads.is_empty() {
        return Ok(());
    }
    let names = threads.iter().map(|thread| thread.name.as_deref());
    let names = format::commonest(names.map(|name| (name.unwrap_or("without a name"), 1)));
    let names = format::first(MAX_IN_A_LINE, &names, "name", |(name, count)| match count {
        1 => escape(name).into_owned(),
        count => format!("{count} {}", escape(name)),
    });
    let count = format::count(threads.len(), "thread");
    let text = format!("idle: {count} ({})", names.join(", "));
    writeln!(writer)?;
    wrap::write(writer, style, HANGING, &[(Some(Paint::Faint), &text)])
}
