//! Futures that are polled on coroutines: a look does not read past the ends of their stacks, and
//! what it leaves on them is never read after they are gone.

use crate::{
    BUILD,
    reply::{Stack, TaskGroup},
    source::Marks,
    support::{Target, eventually},
};

const THREADS: [&str; 2] = ["main", "thread"];
const STACKS: [&str; 4] = ["own", "mapped", "below", "heap"];

#[test]
fn tasks_on_coroutines_are_shown() {
    let target = Target::start(BUILD, &["fibers"]);
    let marks = Marks::read();
    for _ in 0..3 {
        let stack = target.stack(&["--tasks"]);
        for group in each(&stack, &["outside", "outer", "inside"]) {
            group.expect_lines(marks.of("fibers"));
        }
        // If tracked inside, everything is on one stack. If outside, the callers are on another.
        for (tracked, is_whole) in [("inside", true), ("outside", false), ("outer", false)] {
            for group in each(&stack, &[tracked]) {
                let mut chains = group.stacks.iter();
                let as_expected = chains.all(|chain| chain.incomplete.is_none() == is_whole);
                assert!(as_expected, "{group:#?}");
            }
        }
        for group in each(&stack, &["outer"]) {
            assert!(
                group.spans.iter().any(|span| span.ends_with("inner")),
                "{group:#?}"
            );
        }
        expect_plain_tasks(&stack);
        target.expect_progress();
    }
}

/// Returns the tasks that are tracked in these ways, on each thread and kind of stack.
fn each<'a>(stack: &'a Stack, tracked: &[&str]) -> Vec<&'a TaskGroup> {
    let mut groups = Vec::new();
    for thread in THREADS {
        for kind in STACKS {
            let names = tracked.iter().map(|how| format!("{thread} {kind} {how}"));
            groups.extend(names.map(|name| stack.group(&name)));
        }
    }
    groups
}

fn expect_plain_tasks(stack: &Stack) {
    for thread in THREADS {
        let plain = stack.group(&format!("{thread} plain"));
        plain.expect_lines(Marks::read().of("plain"));
        assert!(
            plain.stacks.iter().all(|chain| chain.incomplete.is_none()),
            "{plain:#?}"
        );
    }
}

#[test]
fn a_filter_that_kills_readers_of_memory_is_not_tried() {
    let target = Target::start(BUILD, &["fibers", "filtered"]);
    let stack = target.stack(&["--tasks"]);
    each(&stack, &["inside"]);
    for group in each(&stack, &["outside", "outer"]) {
        // Stacks are read to the end of the page.
        assert!(
            group.stacks.iter().any(|chain| chain.incomplete.is_some()),
            "{group:#?}"
        );
    }
    expect_plain_tasks(&stack);
    target.expect_progress();
}

#[test]
fn a_poll_that_goes_on_on_another_thread_leaves_nothing_behind() {
    expect_nothing_left("moved");
}

#[test]
fn a_poll_that_is_dropped_on_another_thread_leaves_nothing_behind() {
    expect_nothing_left("dropped");
}

#[test]
fn a_poll_that_never_goes_on_leaves_nothing_behind() {
    expect_nothing_left("forgotten");
}

/// Suspends coroutines in the middle of a poll that a look asked for, and lets them meet this fate.
fn expect_nothing_left(fate: &str) {
    const COROUTINES: u64 = 4;
    let target = Target::start(BUILD, &["suspended-fibers", fate]);
    let marks = Marks::read();
    let look = || {
        let arguments = ["stack", &target.pid.to_string(), "--json", "--tasks"];
        let run = target.rtops(&arguments);
        // Tasks that move all the time may be known in part only.
        assert!(matches!(run.code, Some(0 | 6)), "{run}");
        let stack: Stack = run.json();
        assert!(
            run.stdout.contains("\"beside\""),
            "{:?}: {}",
            stack.gaps,
            run.stderr
        );
        stack
            .group("beside")
            .expect_lines(marks.of("beside-fibers"));
    };
    look();
    eventually("the coroutines have met their fate", || {
        target.command("check").parse::<u64>().unwrap() >= COROUTINES
    });
    for _ in 0..3 {
        assert_eq!(target.command("wake"), "woken");
        look();
    }
}
