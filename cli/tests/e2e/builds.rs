//! The ways in which services are built.

use std::fs;

use crate::{
    reply::Stack,
    source::Marks,
    support::{Build, Target},
};

/// Some of the awaits, deep and shallow ones.
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

fn expect_no_lines(stack: &Stack) {
    assert!(stack.complete, "{:?}", stack.gaps);
    for name in SOME {
        let group = stack.group(name);
        assert_eq!((group.count, &*group.state), (1, "waiting"));
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        assert!(frames.all(|frame| frame.line.is_none()), "{group:#?}");
        // The place where it was spawned needs no debug info.
        let site = group.site.as_ref().unwrap();
        assert!(site.file.contains("testbed/src/awaits/") && site.line > 0);
    }
}

/// What is missing is told, with this word, in JSON and in the last line of the text.
fn expect_hint(target: &Target, stack: &Stack, word: &str) {
    assert!(
        stack.lacks.iter().any(|lack| lack.contains(word)),
        "{:?}",
        stack.lacks
    );
    let text = target.stack_text(&["--tasks"]);
    let hint = text.lines().last().unwrap();
    assert!(
        hint.starts_with("more could be shown: ") && hint.contains(word),
        "{text}"
    );
}
