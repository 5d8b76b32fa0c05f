//! Several runtimes, other executors, none at all, blocking pools and starved runtimes.

use crate::{
    source::Marks,
    support::{Build, Target, eventually},
};

#[test]
fn tasks_are_shown_with_the_names_of_their_runtimes() {
    let target = Target::start(Build::Dev, &["two-runtimes"]);
    let stack = target.stack(&["--tasks"]);
    for (task, runtime) in [("in front", "front"), ("behind", "back")] {
        let group = stack.group(task);
        assert_eq!(group.tasks[0].runtime.as_deref(), Some(runtime));
        group.expect_lines(Marks::read().of("two-runtimes"));
    }
}

#[test]
fn tasks_on_smol_and_async_executor_are_found() {
    let target = Target::start(Build::Dev, &["smol"]);
    let stack = target.stack(&["--tasks"]);
    let marks = Marks::read();
    for (name, wait) in [
        ("channel", "channel receive"),
        ("timer", "sleep"),
        ("accept", "I/O accept"),
        ("lock", "mutex lock"),
        ("local", "channel receive"),
    ] {
        let group = stack.group(name);
        assert_eq!((group.count, &*group.kind), (1, "task"));
        group.expect_lines(marks.of(name));
        assert_eq!(group.waits, [wait], "{group:#?}");
    }
}

#[test]
fn a_future_in_block_on_is_a_task() {
    for executor in ["none", "tokio"] {
        let target = Target::start(Build::Dev, &["block-on", executor]);
        let stack = target.stack(&["--tasks"]);
        let group = stack.group("main");
        assert_eq!((group.count, &*group.kind), (1, "task"));
        group.expect_lines(Marks::read().of("block-on"));
    }
}

#[test]
fn closures_on_the_blocking_pool_run_or_wait_for_a_thread() {
    let target = Target::start(Build::Dev, &["blocking-pool"]);
    let stack = target.stack(&["--tasks"]);
    let count = |state: &str| -> usize {
        let groups = stack.task_groups().iter();
        groups
            .filter(|group| group.kind == "blocking" && group.state == state)
            .map(|group| group.count)
            .sum()
    };
    assert_eq!(
        (count("running"), count("new")),
        (2, 3),
        "{:#?}",
        stack.task_groups()
    );
    for group in stack
        .task_groups()
        .iter()
        .filter(|group| group.state == "running")
    {
        assert!(group.has_function("works_in_pool"), "{group:#?}");
    }
}

#[test]
fn tasks_behind_a_blocked_thread_are_shown_where_they_wait() {
    let target = Target::start(Build::Dev, &["starved"]);
    let stack = target.stack(&["--tasks"]);
    let waiting = stack.group("waiting");
    assert_eq!((waiting.count, &*waiting.state), (3, "waiting"));
    assert!(waiting.has_function("waits"), "{waiting:#?}");
    let woken = stack.group("woken");
    assert_eq!((woken.count, &*woken.state), (2, "woken"));
    assert!(woken.has_function("is_woken"), "{woken:#?}");
    eventually("the blocker's stack shows where it sleeps", || {
        let stack = target.stack(&["--tasks"]);
        let blocker = stack.group("blocker");
        blocker.state == "running" && blocker.has_function("blocks_the_thread")
    });
    // Without a look from outside, the agent can only ask them, and none answers.
    let text = target.stack_text(&["--tasks", "--attach=never"]);
    for starved in ["3 tasks \"waiting\"", "2 tasks \"woken\""] {
        let starved = format!("{starved} [starved: woken, but no thread polls it");
        assert!(text.contains(&starved), "{text}");
    }
}
