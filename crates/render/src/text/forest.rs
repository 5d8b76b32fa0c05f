//! Who spawned whom, as a tree, with the innermost await of each task.

use std::io::{self, Write};

use rtops_report::{
    census::Count,
    escape::escape,
    format,
    group::TaskGroup,
    lineage::{self, MAX_DEPTH, Node},
    task::{State, Task},
    view::View,
    words,
};

use super::{drawing::Drawing, heading, labels, stack};
use crate::{bars::Bars, style::Style};

/// Prints a line for the process, the forest, and what is missing.
///
/// # Errors
/// If the writer fails.
pub fn text(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    heading::write(writer, style, view)?;
    let groups = view.tasks.as_deref().unwrap_or_default();
    let forest = lineage::forest(view.dump, groups);
    let mut drawing = Drawing::default();
    for node in forest.iter().take(view.limit) {
        add(&mut drawing, view, node, &Bars::default(), 0);
    }
    if !forest.is_empty() {
        writeln!(writer)?;
    }
    drawing.write(writer, style)?;
    let hidden = forest.get(view.limit..).unwrap_or_default();
    let tasks = hidden.iter().flat_map(|node| &node.group.tasks);
    let members = Count::of_tasks(tasks.copied()).words("task");
    stack::more(writer, style, hidden.len(), &members)?;
    stack::remarks(writer, style, view)
}

/// Adds a node and everything below it.
fn add(drawing: &mut Drawing, view: &View, node: &Node, bars: &Bars, depth: usize) {
    let (text, place) = line(view, node);
    drawing.line(&bars.before, &text, place, &bars.below);
    for (left, child) in (0..node.children.len()).rev().zip(&node.children) {
        add(drawing, view, child, &bars.child(left == 0), depth + 1);
    }
    if depth == MAX_DEPTH {
        let text = "(what these spawned is not shown)";
        drawing.line(&bars.below, text, None, &bars.below);
    }
}

/// Returns the text of a node, and where in the source its tasks wait.
fn line(view: &View, node: &Node) -> (String, Option<String>) {
    let group = &node.group;
    let noun = words::noun(group.look.kind);
    let head = match group.tasks.as_slice() {
        [only] => labels::numbered(noun, only),
        tasks => format::count(tasks.len(), noun),
    };
    let mut text = format!("{head} {} [{}]", words::called(group), bracket(view, group));
    let mut chains = group.chains.iter();
    let innermost = chains.find_map(|chain| stack::innermost(view.frames, chain));
    if let Some(frame) = innermost.filter(|_| group.waits().is_empty()) {
        text = format!("{text} {}", escape(&frame.name));
    }
    if group.chains.len() > 1 {
        text = format!("{text} in {} places", group.chains.len());
    }
    if let Some(awaited) = awaited(view, group) {
        text = format!("{text}, awaits {awaited}");
    }
    if node.orphans > 0 {
        text = format!("{text}, its spawner has ended");
    }
    let place = innermost
        .and_then(|frame| frame.place.as_ref())
        .or(group.look.site.as_ref());
    (
        text,
        place.map(|place| escape(&place.to_string()).into_owned()),
    )
}

fn bracket(view: &View, group: &TaskGroup) -> String {
    if let State::Running { tid } = group.look.state {
        return stack::running(view, group, tid);
    }
    let what = group.doing();
    match group.times() {
        Some((shortest, longest)) => format!("{what}, {}", stack::range(shortest, longest)),
        None => what,
    }
}

/// Returns the tasks whose ends are awaited, if known.
fn awaited(view: &View, group: &TaskGroup) -> Option<String> {
    let mut joined: Vec<&Task> = Vec::new();
    for task in &group.tasks {
        for of in view.waits().joined_by(task.key) {
            if !joined.iter().any(|known| known.key == of.key) {
                joined.push(of);
            }
        }
    }
    match joined.as_slice() {
        [] => None,
        [only] => Some(labels::named_task(view.dump, only)),
        several => Some(format::count(several.len(), "task")),
    }
}
