//! Labels of tasks.

use rtops_report::{
    dump::Dump,
    escape::escape,
    task::{Origin, Task},
    words,
};

/// Returns `task 17 "flush"`.
pub(super) fn named_task(dump: &Dump, task: &Task) -> String {
    let name = dump.string(task.name()).map(words::quoted).or_else(|| {
        let future = dump.string(task.tracked()?.future_type)?;
        Some(escape(&rtops_symbols::display_name(future)).into_owned())
    });
    let number = numbered("task", task);
    match name {
        Some(name) => format!("{number} {name}"),
        None => number,
    }
}

/// Returns `task 17`. tokio's numbers are marked: each copy of tokio in the program counts
/// separately, and the agent's numbers for tracked tasks are different ones.
pub(super) fn numbered(noun: &str, task: &Task) -> String {
    let untracked = match &task.origin {
        Origin::Tracked(tracked) => return format!("{noun} {}", tracked.id),
        Origin::Untracked(untracked) => untracked,
    };
    let memory = &untracked.memory;
    let tokio = match memory.tokio {
        0 => "tokio".to_owned(),
        other => format!("tokio #{}", u64::from(other) + 1),
    };
    match (memory.number, memory.cell) {
        (Some(number), _) => format!("{tokio} {noun} {number}"),
        (None, Some(cell)) => format!("{tokio} {noun} at {cell:#x}"),
        (None, None) => format!("{tokio} {noun}"),
    }
}
