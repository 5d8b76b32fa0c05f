//! What rtops reports about tasks that nobody wrapped.

use crate::{
    every_build::unwrapped::ways,
    reply::Leaks,
    source::Marks,
    support::{Build, Target},
};

#[test]
fn they_have_numbers_of_tokio_and_no_names() {
    let target = Target::start(Build::Dev, &["unwrapped", "multi"]);
    let stack = target.stack(&["--tasks"]);
    let mut numbers = Vec::new();
    for group in stack.task_groups() {
        assert_eq!(
            (&group.name, &group.site.is_none()),
            (&None, &true),
            "{group:#?}"
        );
        for task in &group.tasks {
            assert_eq!(task.tracked, Some(false), "{group:#?}");
            numbers.push(task.tokio_id.unwrap());
        }
    }
    assert!(numbers.len() >= ways(&Marks::read()).len());
    numbers.sort_unstable();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "two tasks have one number");
}

#[test]
fn those_that_no_waker_can_wake_are_proven_leaks() {
    let target = Target::start(Build::Dev, &["unwrapped", "multi"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["leaks", &pid, "--for=0", "--json", "--timeout=60s"]);
    let leaks: Leaks = run.json();
    let marks = Marks::read();
    let proven = leaks.findings.iter();
    let proven: Vec<_> = proven.filter(|one| one.evidence == "proven").collect();
    for name in ["lost-waker", "pending-alone", "pending-init"] {
        let [mark, ..] = marks.of(name) else {
            panic!("no line is marked {name}");
        };
        let is_there = proven.iter().flat_map(|one| &one.tasks).any(|group| {
            let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
            frames.any(|frame| {
                let file = frame.file.as_deref().unwrap_or_default();
                file.ends_with(&mark.file) && frame.line == Some(mark.line)
            })
        });
        assert!(is_there, "{name} is not among {proven:#?}");
    }
    // A task that waits for something has a waker.
    let waits = proven
        .iter()
        .flat_map(|one| &one.tasks)
        .flat_map(|group| &group.tasks);
    assert!(waits.clone().count() > 0 && waits.clone().all(|task| task.wakers == Some(0)));
}

#[test]
fn they_are_not_shown_where_nobody_looks_from_outside() {
    let target = Target::start(Build::Dev, &["unwrapped", "multi"]);
    let stack = target.stack(&["--tasks", "--attach=never"]);
    assert_eq!(stack.tasks().count(), 0, "{:#?}", stack.task_groups());
}

#[test]
fn a_look_that_would_stop_the_target_for_too_long_is_not_taken() {
    let target = Target::start(Build::Dev, &["unwrapped", "multi"]);
    let run = target.rtops(&[
        "stack",
        &target.pid.to_string(),
        "--tasks",
        "--max-pause=1ms",
    ]);
    assert_eq!(run.code, Some(6), "{run}");
    assert!(run.stderr.contains("--max-pause"), "{run}");
    assert!(!run.stdout.contains("awaits/"), "{run}");
}
