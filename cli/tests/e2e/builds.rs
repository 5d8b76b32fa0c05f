//! The ways to build services.

use std::{fs, sync::Arc};

use serde_json::Value;
use tempfile::tempdir;

use crate::{
    every_build::{unwrapped, wakerless},
    reply::{Frame, Stack},
    source::Marks,
    support::{Build, Target, eventually},
};

/// Some of the awaits, both deep and shallow.
const SOME: &[&str] = &["sleep", "mpsc-recv", "tcp-read", "nested", "dyn", "join"];

#[test]
fn fat_lto_keeps_the_lines() {
    expect_lines(Build::LtoFat);
}

#[test]
fn abort_on_panic_keeps_the_lines() {
    expect_lines(Build::Abort);
}

#[test]
fn a_program_at_a_fixed_address_keeps_the_lines() {
    const ET_EXEC: u16 = 2;
    let program = fs::read(Build::NonPie.path()).unwrap();
    assert_eq!(program[16..18], ET_EXEC.to_le_bytes());
    expect_lines(Build::NonPie);
}

fn expect_lines(build: Build) {
    let marks = Marks::read();
    let target = Target::start(build, &["awaits", "multi"]);
    let stack = target.stack(&["--tasks"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    for name in SOME {
        stack.group(name).expect_lines(marks.of(name));
    }
}

#[test]
fn without_debug_info_functions_remain_and_the_way_out_is_told() {
    let target = Target::start(Build::NoDebug, &["awaits", "multi"]);
    let stack = target.stack(&["--tasks"]);
    expect_no_lines(&stack);
    expect_hint(&target, &stack, "line-tables-only");
    for name in SOME {
        let group = stack.group(name);
        let frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        let mut own = frames.filter(|frame| frame.name.starts_with("rtops_testbed::awaits::"));
        assert!(own.next().is_some(), "{group:#?}");
    }
    // The names of tokio's functions show what a worker waits for.
    assert!(has_approximate_threads(&target));
    assert!(!has_approximate_threads(&Target::start(
        Build::Release,
        &["awaits", "multi"]
    )));
}

fn has_approximate_threads(target: &Target) -> bool {
    let stack = target.stack(&["--threads"]);
    let mut groups = stack.thread_groups().iter();
    groups.any(|group| group.approximate)
}

#[test]
fn of_a_stripped_program_addresses_remain_and_the_way_out_is_told() {
    let target = Target::start(Build::Stripped, &["awaits", "multi"]);
    let stack = target.stack(&["--tasks"]);
    expect_no_lines(&stack);
    expect_hint(&target, &stack, "stripped");
    let group = stack.group("sleep");
    let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
    assert!(
        frames.any(|frame| frame.name.starts_with("targets+0x")),
        "{group:#?}"
    );
}

/// Who waits for whom does not hang on names, where all who have something are known.
#[test]
fn of_a_stripped_program_circles_are_told() {
    for (case, faults) in [
        ("block_on_circle", 1),
        ("block_on_guard", 1),
        ("block_on_sender", 1),
        ("join_under_lock", 1),
        ("healthy_channels", 0),
        ("healthy_locks", 0),
    ] {
        let directory = Arc::new(tempdir().unwrap());
        let target = Target::start_in(directory, Build::stripped_cases(), &[case, "bare"]);
        let mut text = String::new();
        eventually(case, || {
            text = target.stack_text(&[]);
            text.matches("\ndeadlock: ").count() == faults
        });
        assert!(!text.contains("\nnever: "), "{text}");
    }
}

fn expect_no_lines(stack: &Stack) {
    assert!(stack.complete, "{:?}", stack.gaps);
    for name in SOME {
        let group = stack.group(name);
        assert_eq!((group.count, &*group.state), (1, "waiting"));
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        assert!(frames.all(|frame| frame.line.is_none()), "{group:#?}");
        // The location of a spawn needs no debug info.
        let site = group.site.as_ref().unwrap();
        assert!(site.file.contains("testbed/src/awaits/") && site.line > 0);
    }
}

/// Expects a hint with this word, in JSON and below the text.
fn expect_hint(target: &Target, stack: &Stack, word: &str) {
    assert!(
        stack.lacks.iter().any(|lack| lack.contains(word)),
        "{:?}",
        stack.lacks
    );
    let text = target.stack_text(&["--tasks"]);
    let is_hint = |line: &str| line.starts_with("more could be shown: ") && line.contains(word);
    assert!(text.lines().any(is_hint), "{text}");
}

/// For tasks that nobody wrapped.
#[test]
fn all_awaits_are_found_in_all_builds() {
    for build in [
        Build::LtoFat,
        Build::Abort,
        Build::NonPie,
        Build::Jemalloc,
        Build::Mimalloc,
    ] {
        unwrapped::expect_awaits(build, "multi");
    }
}

/// For tasks that registered no waker.
#[test]
fn lost_tasks_are_found_in_all_builds() {
    for build in [Build::LtoFat, Build::Abort] {
        wakerless::expect_lines(build);
    }
}

#[test]
fn of_a_stripped_program_no_line_is_shown() {
    let target = Target::start(Build::Stripped, &["unwrapped", "multi"]);
    let stack = target.stack(&["--tasks"]);
    let groups = stack.task_groups();
    assert!(
        stack.tasks().count() >= unwrapped::ways(&Marks::read()).len(),
        "{groups:#?}"
    );
    for group in groups {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        // The system's libraries may have symbols.
        let is_system = |frame: &Frame| !frame.name.starts_with("targets");
        assert!(
            frames.all(|frame| is_system(frame) || frame.line.is_none()),
            "{group:#?}"
        );
        // Without symbols, this is the only name that there is.
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
fn the_ways_to_build_are_told_apart() {
    for (build, key, value) in [
        (Build::Abort, "panic", "abort"),
        (Build::LtoFat, "lto", "fat"),
        (Build::Stripped, "debug_info", "stripped"),
        (Build::NoDebug, "debug_info", "none"),
        (Build::LtoFat, "debug_info", "limited"),
    ] {
        let target = Target::start(build, &["herd", "1"]);
        let report = version(&target);
        let executable = &report["executable"];
        assert_eq!(executable[key], value, "{build:?}: {report}");
        let panic = match build {
            Build::Abort => "abort",
            _ => "unwind",
        };
        assert_eq!(executable["panic"], panic, "{build:?}");
        let name = match build {
            Build::Stripped => Value::Null,
            _ => "targets".into(),
        };
        assert_eq!(executable["crate_name"], name, "{build:?}");
    }
    let fixed = Target::start(Build::NonPie, &["herd", "1"]);
    let report = version(&fixed);
    assert_eq!(report["executable"]["pie"], false, "{report}");
}

fn version(target: &Target) -> Value {
    let run = target.rtops(&["version", &target.pid.to_string(), "--json"]);
    let run = run.success();
    run.json()
}

#[test]
fn a_second_dump_says_the_same() {
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let marks = Marks::read();
    let first =
        unwrapped::compare(&marks, &target.stack(&["--tasks"]), Build::Release).unresolved();
    for _ in 0..5 {
        let again = unwrapped::compare(&marks, &target.stack(&["--tasks"]), Build::Release);
        again.expect_right();
        assert_eq!(again.unresolved(), first);
    }
}

/// In release builds: in a dev build their types are not complete.
#[test]
fn they_are_counted_by_the_type_of_their_future() {
    let target = Target::start(Build::Release, &["herd", "3"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["stats", &pid, "--json"]).success();
    let stats: serde_json::Value = run.json();
    assert_eq!(stats["tasks"]["untracked"], 0, "{stats}");
    let target = Target::start(Build::Release, &["unwrapped", "multi"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["stats", &pid, "--json"]).success();
    let stats: serde_json::Value = run.json();
    let types = stats["types"].as_array().unwrap();
    let types: Vec<_> = types.iter().filter(|one| one["kind"] == "task").collect();
    let of = |title: &str| {
        let mut named = types.iter().filter(|one| one["title"] == title);
        named.next().map(|one| (*one).clone()).unwrap_or_default()
    };
    // Tasks of the same name have many types.
    let settled = of("rtops_testbed::settle::settled");
    assert!(settled["idle"].as_u64() > Some(10), "{stats:#}");
    assert_eq!(settled["future_type"], serde_json::Value::Null, "{stats:#}");
    let pending = of("core::future::pending::Pending");
    let of_type = "core::future::pending::Pending<()>";
    assert_eq!(pending["future_type"], of_type, "{stats:#}");
    let all: u64 = types.iter().map(|one| one["count"].as_u64().unwrap()).sum();
    assert_eq!(stats["tasks"]["untracked"], all);
}
