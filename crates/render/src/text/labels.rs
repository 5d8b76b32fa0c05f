//! What tasks are called.

use rtops_report::{
    dump::Dump,
    escape::escape,
    group::TaskGroup,
    task::{Origin, Task},
};

/// `task 17 "flush"`.
pub(super) fn named_task(dump: &Dump, task: &Task) -> String {
    let name = dump.string(task.name()).map(quoted).or_else(|| {
        let future = dump.string(task.tracked()?.future_type)?;
        Some(escape(&rtops_symbols::display_name(future)).into_owned())
    });
    format!("{} {}", numbered("task", task), name.unwrap_or_default())
}

/// `task 17`; tokio has its own numbers, as many of each as there are tokios in the program, and those
/// of tracked tasks are others.
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

/// The name in quotes, or the type of the future.
pub(super) fn label(group: &TaskGroup) -> String {
    let look = &group.look;
    title(look.name, look.future_type.as_deref(), look.is_tracked)
}

/// The same of what a group is known by.
pub(super) fn title(name: Option<&str>, future_type: Option<&str>, is_tracked: bool) -> String {
    match (name, future_type) {
        (Some(name), _) => quoted(name),
        (None, Some(future)) if is_tracked => {
            escape(&rtops_symbols::display_name(future)).into_owned()
        }
        (None, Some(future)) => escape(&rtops_symbols::display_type(future)).into_owned(),
        (None, None) => "without a name".to_owned(),
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", escape(name))
}
