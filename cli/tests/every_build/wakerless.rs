//! Where tasks wait that registered no waker: each await is found at
//! its line, or reported as unknown.

use crate::{
    BUILD,
    reply::{Stack, TaskGroup},
    source::{Mark, Marks},
    support::{Build, Target},
};

/// The tasks that nothing can wake, and that wait at one place, or at a known set of places.
const FOUND: &[&str] = &[
    "deep",
    "lost-future",
    "method",
    "boxed",
    "lost-select",
    "lost-join",
    "futures-join",
    "loop",
    "block",
    "many",
];

/// The tasks for which an optimizing compiler may leave no instruction that shows where they wait.
const PERHAPS: &[&str] = &["several", "closure", "split"];

#[test]
fn each_await_is_at_its_line_or_said_not_to_be_known() {
    expect_lines(BUILD);
}

pub fn expect_lines(build: Build) {
    let marks = Marks::read();
    let target = Target::start(build, &["wakerless"]);
    // The second dump finds what the first one found: stepping a task changes nothing.
    for _ in 0..2 {
        let stack = target.stack(&["--tasks"]);
        assert!(stack.complete, "{:?}", stack.gaps);
        for name in FOUND {
            let group = stack.group(name);
            assert_eq!(group.state, "never", "{group:#?}");
            group.expect_lines(marks.of(name));
            expect_no_other_lines(group, marks.of(name));
            let whole = |chain: &crate::reply::Chain| chain.incomplete.is_none();
            assert!(group.stacks.iter().all(whole), "{group:#?}");
        }
        for name in PERHAPS {
            for group in stack.groups(name) {
                assert_eq!(group.state, "never", "{group:#?}");
                expect_no_other_lines(group, marks.of(name));
            }
        }
        expect_said(&stack, &marks);
        let many = stack.group("many");
        let is_stepped = |task: &crate::reply::Task| task.obtained == "stepped";
        assert_eq!(many.count, 20, "{many:#?}");
        assert!(many.tasks.iter().all(is_stepped), "{many:#?}");
        expect_children(&stack, &marks);
        // One branch has no waker, the other has one.
        let half = stack.group("half-join");
        assert_eq!(
            (&*half.state, half.stacks.len()),
            ("waiting", 2),
            "{half:#?}"
        );
        half.expect_lines(marks.of("half-join"));
        half.expect_lines(marks.of("half-join-lost"));
    }
}

/// Asserts that no frame of the scenario is at an unmarked line, except in the hand-written future.
#[track_caller]
fn expect_no_other_lines(group: &TaskGroup, marks: &[Mark]) {
    let frames = group.stacks.iter().flat_map(|chain| &chain.frames);
    for frame in frames {
        let file = frame.file.as_deref().unwrap_or_default();
        let is_marked = marks.iter().any(|mark| frame.line == Some(mark.line));
        let is_spawning = frame.name.ends_with("selecting") || frame.name.ends_with("joining");
        let is_other = frame.name.ends_with("Lost::poll") || is_spawning || frame.kind == "span";
        let is_joining = frame.name.ends_with("joining_half");
        if file.ends_with("wakerless.rs") && frame.line.is_some() {
            assert!(
                is_marked || is_other || is_joining,
                "{frame:?} of {group:#?}"
            );
        }
    }
}

/// Asserts that each missing line has an explanation.
fn expect_said(stack: &Stack, marks: &Marks) {
    for name in PERHAPS.iter().chain(&["bare"]) {
        for group in stack.groups(name) {
            let has_line = *name != "bare" && {
                let frames = group.stacks.iter().flat_map(|chain| &chain.frames);
                let lines: Vec<u32> = frames.filter_map(|frame| frame.line).collect();
                let marked = marks.of(name).iter();
                marked.filter(|mark| lines.contains(&mark.line)).count() > 0
            };
            let has_pending = group.has_function("Pending::poll");
            let is_said = group.remark.is_some()
                || group.stacks.iter().any(|chain| chain.incomplete.is_some());
            assert!(has_line || has_pending || is_said, "{group:#?}");
        }
    }
}

/// The children of a container that never wakes them are polled through the wakers it gave them.
fn expect_children(stack: &Stack, marks: &Marks) {
    let container = stack.group("container");
    assert_eq!(container.spans, ["lost-child"]);
    container.expect_lines(marks.of("container"));
    container.expect_lines(marks.of("lost-child"));
}
