//! Looks must not harm the target, the user, or anybody else.

use std::{fs, path::Path, process::Command, sync::Arc};

use tempfile::tempdir;

use crate::{
    list::List,
    source::Marks,
    support::{Build, Target, copy_program},
};

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");

#[test]
fn a_forked_child_has_no_agent_and_does_not_harm_the_parents() {
    let target = Target::start(Build::Dev, &["fork"]);
    let child = child_of(&target);
    assert!(
        List::read(Some(target.directory()))
            .process(child)
            .is_none()
    );
    let child_pid = child.to_string();
    target
        .rtops(&["stack", &child_pid, "--attach=never"])
        .exits(4);
    // The child keeps none of the agent's sockets open: a client would wait for it forever.
    for fd in fs::read_dir(format!("/proc/{child}/fd")).unwrap() {
        let link = fs::read_link(fd.unwrap().path()).unwrap();
        assert!(!link.to_string_lossy().starts_with("socket:"), "{link:?}");
    }
    target.stack(&[]);
}

/// Returns the PID of the forked child, which the target names a task after.
fn child_of(target: &Target) -> i32 {
    let stack = target.stack(&["--tasks"]);
    let names = stack
        .task_groups()
        .iter()
        .filter_map(|group| group.name.as_deref());
    let mut pids = names.filter_map(|name| name.strip_prefix("child ")?.parse().ok());
    pids.next().unwrap()
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let target = Target::start(Build::Dev, &["names"]);
    let pid = target.pid.to_string();
    let each = target.stack_text(&["--each"]);
    assert!(each.contains("red") && each.contains("long long"), "{each}");
    for text in [
        each,
        target.stack_text(&["--color=never"]),
        target.rtops(&["list"]).success().stdout,
        target.rtops(&["stats", &pid]).success().stdout,
    ] {
        let bad = text.chars().find(|c| is_harmful(*c));
        assert!(bad.is_none(), "{bad:?} in {text:?}");
    }
    assert_eq!(target.stack(&["--tasks"]).tasks().count(), 6);
}

fn is_harmful(c: char) -> bool {
    let is_bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n') || is_bidi
}

#[test]
fn a_disabled_agent_leaves_nothing() {
    let target = Target::disabled(Command::new(Build::Dev.path()));
    assert_eq!(fs::read_dir(target.directory()).unwrap().count(), 0);
    let pid = target.pid.to_string();
    target.rtops(&["stack", &pid, "--attach=never"]).exits(4);
}

/// Starts a target from a copy of the program at this path, and deletes the copy.
fn start_and_delete(program: &Path) -> Target {
    copy_program(Build::Dev.path(), program);
    let target = Target::start_in(Arc::new(tempdir().unwrap()), program, &["herd", "3"]);
    fs::remove_file(program).unwrap();
    target
}

#[test]
fn a_program_that_was_deleted_is_still_symbolized() {
    let programs = tempdir().unwrap();
    let program = programs.path().join("targets");
    let target = start_and_delete(&program);
    let stack = target.stack(&["--tasks"]);
    stack.group("waits").expect_lines(Marks::read().of("waits"));
}

#[test]
fn a_program_that_was_replaced_is_still_symbolized() {
    let programs = tempdir().unwrap();
    let program = programs.path().join("targets");
    let target = start_and_delete(&program);
    copy_program(RTOPS.as_ref(), &program);
    let stack = target.stack(&["--tasks"]);
    stack.group("waits").expect_lines(Marks::read().of("waits"));
}
