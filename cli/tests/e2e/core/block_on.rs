//! Futures that a thread polls in `block_on`.

use super::{Victim, packages, stack};
use crate::{
    reply::{Frame, Stack, TaskGroup, ThreadGroup},
    source::Marks,
};

/// The number of kinds of threads whose future keeps no waker.
const WITHOUT_WAKER: usize = 2;

#[test]
fn all_futures_in_block_on_show_their_lines() {
    let mut victim = Victim::start(&packages::program("block_on"), &[]).quiet();
    let Some(core) = victim.dump() else { return };
    expect(&stack(&core, &[]));
}

/// Expects what any look at the program has to show.
pub fn expect(stack: &Stack) {
    let marks = Marks::of_text(packages::BLOCK_ON, "forms/src/block_on.rs");
    for name in marks.names_in("forms/src/") {
        let kind = match name {
            "beside_in_local_set" => "task",
            _ => "block_on",
        };
        let of_kind = |group: &&TaskGroup| group.kind == kind;
        let mut groups = stack.task_groups().iter().filter(of_kind);
        let [mark] = marks.of(name) else {
            panic!("one line is marked for {name}");
        };
        let is_shown = groups.any(|group| group.has_line(mark));
        assert!(is_shown, "{name}: {:#?}", stack.task_groups());
    }
    let is_own = |frame: &Frame| {
        let file = frame.file.as_deref().unwrap_or_default();
        file.ends_with("forms/src/block_on.rs") || file.contains("tokio-")
    };
    // No frame of the loops that poll the futures.
    let block_on = stack.task_groups().iter();
    let block_on = block_on.filter(|group| group.kind == "block_on" && group.stacks.len() == 1);
    for group in block_on {
        assert!(group.stacks[0].frames.iter().all(is_own), "{group:#?}");
    }
    let says_so = |group: &&ThreadGroup| {
        let remark = group.remark.as_deref().unwrap_or_default();
        remark.contains("no stored waker shows where its future waits")
    };
    let silent = stack.thread_groups().iter().filter(says_so);
    let silent: usize = silent.map(|group| group.threads.len()).sum();
    assert_eq!(silent, WITHOUT_WAKER, "{:#?}", stack.thread_groups());
}
