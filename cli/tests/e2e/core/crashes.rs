//! Ways to die, and what the core file shows of the guilty task and of all that waited.

use std::{os::unix::process::ExitStatusExt as _, path::Path};

use nix::libc::SIGKILL;

use super::{Victim, gcore, of_core, packages, stack, versions};
use crate::{
    cgroup::Cgroup,
    reply::{Stack, TaskGroup},
    source::Mark,
};

#[test]
fn a_write_to_null_in_a_task() {
    expect_guilty("null", "SIGSEGV");
}

#[test]
fn a_stack_overflow_in_a_task() {
    let mut victim = Victim::start(packages::newest(), &["overflow"]);
    let Some(core) = victim.died() else { return };
    expect_guilty_in(&core, "SIGABRT");
    // Thousands of equal frames are shown as one, and the output says what is left out.
    let text = of_core(&["stack"], &core, &[]);
    assert!(text.stdout.lines().count() < 120, "{text}");
    assert!(text.stdout.contains("… this frame "), "{text}");
    assert!(
        text.stdout.contains("frames in the middle are left out"),
        "{text}"
    );
}

#[test]
fn a_task_that_spins() {
    expect_guilty("spin", "SIGABRT");
}

#[test]
fn a_task_that_blocks() {
    expect_guilty("block", "SIGABRT");
}

#[test]
fn a_panic_that_aborts_a_static_program() {
    let package = packages::service("1")
        .in_folder("static-abort")
        .with("RUSTFLAGS", "-C target-feature=+crt-static")
        .with("CARGO_PROFILE_RELEASE_PANIC", "abort");
    let mut victim = Victim::start(&package.build().join("service"), &["panic"]);
    let Some(core) = victim.died() else { return };
    expect_guilty_in(&core, "SIGABRT");
}

#[test]
fn a_task_that_takes_all_memory() {
    let Some(cgroup) = Cgroup::make("hoard") else {
        eprintln!("skipped: no cgroup with a limit of memory can be made here");
        return;
    };
    let mut victim = Victim::start(packages::newest(), &["hoard"]);
    cgroup.adopt(victim.pid());
    cgroup.limit(64 << 20);
    let core = gcore(victim.pid(), victim.directory());
    victim.go();
    // There is no core file of this death: for SIGKILL the kernel writes none.
    assert_eq!(victim.ended().signal(), Some(SIGKILL));
    expect_guilty_in(&core, "was dumped alive");
}

#[test]
fn a_poll_without_end_is_given_up_and_all_others_are_shown() {
    let mut victim = Victim::start(packages::newest(), &["endless"]).parked();
    let Some(core) = victim.dump() else { return };
    let text = of_core(&["stack"], &core, &["--tasks"]);
    assert!(text.stdout.contains("1 polled too long"), "{text}");
    assert!(
        text.stdout.contains("the poll took too many steps"),
        "{text}"
    );
    expect_ten(&stack(&core, &[]));
}

fn expect_guilty(mode: &str, signal: &str) {
    let mut victim = Victim::start(packages::newest(), &[mode]);
    let core = match mode {
        "null" => victim.died(),
        _ => victim.dump(),
    };
    let Some(core) = core else { return };
    expect_guilty_in(&core, signal);
}

/// Expects that the guilty task runs and the ten others wait.
fn expect_guilty_in(core: &Path, end: &str) {
    let text = of_core(&["stack"], core, &[]);
    assert!(text.stdout.contains(end), "{text}");
    let stack = stack(core, &[]);
    let groups = stack.task_groups();
    let running: Vec<&TaskGroup> = groups
        .iter()
        .filter(|group| group.state == "running")
        .collect();
    let guilty = versions::signed("// RUNNING ");
    let guilty = guilty.of("guilty");
    let has = |group: &&TaskGroup, mark: &Mark| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(|frame| frame.is_at(mark))
    };
    let shown = running
        .iter()
        .any(|group| guilty.iter().any(|mark| has(group, mark)));
    assert!(shown, "{running:#?}");
    expect_ten(&stack);
}

/// Expects the lines of the ten that wait, however the process ended.
fn expect_ten(stack: &Stack) {
    let marks = versions::marks();
    for name in marks.names_in("service/src/") {
        let lines = marks.of(name);
        let mut groups = stack.task_groups().iter();
        let is_shown = groups.any(|group| {
            let frames = || group.stacks.iter().flat_map(|chain| &chain.frames);
            lines
                .iter()
                .all(|mark| frames().any(|frame| frame.is_at(mark)))
        });
        assert!(is_shown, "{name}: {:#?}", stack.task_groups());
    }
}

#[test]
fn the_body_of_main_shows_like_a_task() {
    let mut victim = Victim::start(packages::newest(), &["ten"]).parked();
    let Some(core) = victim.dump() else { return };
    let stack = stack(&core, &["--tasks"]);
    let marks = versions::signed("// BLOCK_ON ");
    let [main] = marks.of("main") else {
        panic!("one line is marked");
    };
    let groups = stack.task_groups();
    let block_on: Vec<&TaskGroup> = groups
        .iter()
        .filter(|group| group.kind == "block_on")
        .collect();
    let [group] = block_on[..] else {
        panic!("{block_on:#?}");
    };
    let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
    assert!(frames.any(|frame| frame.is_at(main)), "{group:#?}");
}

#[test]
fn ended_tasks_are_counted_and_never_listed() {
    let mut victim = Victim::start(packages::newest(), &["ten"]).parked();
    let Some(core) = victim.dump() else { return };
    let stack = stack(&core, &["--tasks"]);
    let groups = stack.task_groups().iter();
    let tasks: usize = groups
        .filter(|group| group.kind == "task")
        .map(|group| group.tasks.len())
        .sum();
    assert_eq!(tasks, 10, "{:#?}", stack.task_groups());
    let text = of_core(&["stack"], &core, &["--tasks"]).success();
    assert!(
        text.stdout
            .contains("3 ended tasks are kept by their join handles"),
        "{text}"
    );
}

#[test]
fn a_lost_wake_up_shows_what_is_ready() {
    let mut victim = Victim::start(packages::newest(), &["lost"]).parked();
    let Some(core) = victim.dump() else { return };
    let text = of_core(&["stack"], &core, &["--tasks"]).success();
    assert!(text.stdout.contains("ready: nobody has woken it"), "{text}");
    let marks = versions::signed("// READY ");
    let [ready] = marks.of("lost") else {
        panic!("one line is marked");
    };
    let stack = stack(&core, &["--tasks"]);
    let mut groups = stack.task_groups().iter();
    let is_shown = groups.any(|group| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        group.state == "ready" && frames.any(|frame| frame.is_at(ready))
    });
    assert!(is_shown, "{:#?}", stack.task_groups());
}
