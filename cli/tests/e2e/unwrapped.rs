//! Every kind of await of untracked tasks, in every way that services are built.

use std::collections::BTreeMap;

use crate::{
    reply::{Frame, Leaks, Stack},
    source::Marks,
    support::{Build, Target},
    verdict::{Expected, Verdict},
};

/// Where the awaits are, and the file that has what goes around each.
const FOLDERS: &[&str] = &["testbed/src/awaits/", "testbed/src/unwrapped/"];
const AROUND: &str = "testbed/src/awaits/mod.rs";

/// Nothing of the line need be executed when such a task is polled again.
const UNRESOLVED: &[&str] = &["pending-among-several", "pending-deep", "poll-fn-lost"];

/// They are where tasks are tracked.
const TRACKED_ONLY: &[&str] = &["child", "span", "tracked-children"];

#[test]
fn in_a_dev_build_on_workers() {
    expect_awaits(Build::Dev, "multi");
}

#[test]
fn in_a_dev_build_on_one_thread() {
    expect_awaits(Build::Dev, "current");
}

#[test]
fn in_a_dev_build_in_a_local_set() {
    expect_awaits(Build::Dev, "local");
}

#[test]
fn in_a_release_build_on_workers() {
    expect_awaits(Build::Release, "multi");
}

#[test]
fn in_a_release_build_on_one_thread() {
    expect_awaits(Build::Release, "current");
}

#[test]
fn in_a_release_build_in_a_local_set() {
    expect_awaits(Build::Release, "local");
}

#[test]
fn with_fat_lto() {
    expect_awaits(Build::LtoFat, "multi");
}

#[test]
fn with_abort_on_panic() {
    expect_awaits(Build::Abort, "multi");
}

#[test]
fn in_a_program_at_a_fixed_address() {
    expect_awaits(Build::NonPie, "multi");
}

#[test]
fn with_jemalloc() {
    expect_awaits(Build::Jemalloc, "multi");
}

#[test]
fn with_mimalloc() {
    expect_awaits(Build::Mimalloc, "multi");
}

#[test]
fn a_second_dump_says_the_same() {
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let marks = Marks::read();
    let first = compare(&marks, &target.stack(&["--tasks"]), Build::Release).unresolved();
    for _ in 0..5 {
        let again = compare(&marks, &target.stack(&["--tasks"]), Build::Release);
        again.expect_right();
        assert_eq!(again.unresolved(), first);
    }
}

#[test]
fn of_a_stripped_program_no_line_is_shown() {
    let target = Target::start(Build::Stripped, &["unwrapped", "multi"]);
    let stack = target.stack(&["--tasks"]);
    let groups = stack.task_groups();
    assert!(
        stack.tasks().count() >= ways(&Marks::read()).len(),
        "{groups:#?}"
    );
    for group in groups {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        // The libraries of the system may have symbols of their own.
        let is_system = |frame: &Frame| !frame.name.starts_with("targets");
        assert!(
            frames.all(|frame| is_system(frame) || frame.line.is_none()),
            "{group:#?}"
        );
        // Without symbols it is as much of a name as there is.
        let future_type = group.future_type.as_deref();
        assert!(
            future_type.is_some_and(|name| name.starts_with("targets+0x")),
            "{group:#?}"
        );
    }
    let addresses = groups.iter().flat_map(|group| &group.stacks);
    let mut addresses = addresses.flat_map(|chain| &chain.frames);
    assert!(addresses.any(|frame| frame.name.starts_with("targets+0x")));
    assert!(stack.lacks.iter().any(|lack| lack.contains("stripped")));
}

#[test]
fn they_have_numbers_of_tokio_and_no_names() {
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
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
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["leaks", &pid, "--for=0", "--json", "--timeout=60s"]);
    let leaks: Leaks = serde_json::from_str(&run.stdout).unwrap();
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
    // Whoever waits for something has a waker.
    let waits = proven
        .iter()
        .flat_map(|one| &one.tasks)
        .flat_map(|group| &group.tasks);
    assert!(waits.clone().count() > 0 && waits.clone().all(|task| task.wakers == Some(0)));
}

#[test]
fn they_are_counted_by_the_type_of_their_future() {
    let target = Target::start(Build::Release, &["herd", "3"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["stats", &pid, "--json"]).success();
    let stats: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(stats["untracked"]["tasks"], 0, "{stats}");
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["stats", &pid, "--json"]).success();
    let stats: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let types = stats["untracked"]["by_type"].as_array().unwrap();
    let of = |name: &str| {
        let mut named = types
            .iter()
            .filter(|one| one["future_type"].as_str().unwrap().contains(name));
        named.next().cloned().unwrap_or_default()
    };
    assert_eq!(of("awaits::time::sleeping")["idle"], 1, "{stats:#}");
    let all: u64 = types.iter().map(|one| one["count"].as_u64().unwrap()).sum();
    assert_eq!(stats["untracked"]["tasks"], all);
}

#[test]
fn they_are_not_shown_where_nobody_looks_from_outside() {
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let stack = target.stack(&["--tasks", "--attach=never"]);
    assert_eq!(stack.tasks().count(), 0, "{:#?}", stack.task_groups());
}

#[test]
fn a_look_that_would_stop_the_target_for_too_long_is_not_taken() {
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
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

fn expect_awaits(build: Build, executor: &str) {
    let marks = Marks::read();
    let target = Target::start(build, &["unwrapped", executor]);
    let stack = target.stack(&["--tasks"]);
    compare(&marks, &stack, build).expect_right();
    assert!(stack.complete, "{:?}", stack.gaps);
}

pub fn compare<'a>(marks: &'a Marks, stack: &Stack, build: Build) -> Verdict<'a> {
    let mut expected = ways(marks);
    if !matches!(
        build,
        Build::Dev | Build::Release | Build::Jemalloc | Build::Mimalloc
    ) {
        // It is left out of what is built in many ways, with the other crates of its kind.
        expected.remove("async-channel");
    }
    let expected = Expected {
        marks,
        folders: FOLDERS,
        around: AROUND,
        names: expected,
        may_be_unresolved: UNRESOLVED,
        has_libraries: false,
    };
    expected.compare(stack)
}

/// Each way to wait is there once.
fn ways(marks: &Marks) -> BTreeMap<&str, usize> {
    let names = FOLDERS.iter().flat_map(|folder| marks.names_in(folder));
    let names = names.filter(|name| !TRACKED_ONLY.contains(name));
    names.map(|name| (name, 1)).collect()
}
