//! Ways to die, and what the core file tells of the guilty task and of all that waited.

use super::{of_core, stack, versions, victim::Victim};
use crate::{
    reply::{Frame, Stack, TaskGroup},
    source::Mark,
};

#[test]
fn a_write_to_null_in_a_task() {
    expect_guilty("null", "SIGSEGV");
}

#[test]
fn a_stack_overflow_in_a_task() {
    expect_guilty("overflow", "SIGABRT");
}

#[test]
fn a_task_that_spins() {
    expect_guilty("spin", "SIGABRT");
}

#[test]
fn a_task_that_blocks() {
    expect_guilty("block", "SIGABRT");
}

fn expect_guilty(mode: &str, signal: &str) {
    let mut victim = Victim::start(versions::newest(), &[mode]);
    let dies = matches!(mode, "null" | "overflow");
    let core = if dies { victim.died() } else { victim.dump() };
    let Some(core) = core else { return };
    let text = of_core(&["stack"], &core, &[]);
    assert!(text.stdout.contains(signal), "{text}");
    let stack = stack(&core, &[]);
    let groups = stack.task_groups();
    let running: Vec<&TaskGroup> = groups
        .iter()
        .filter(|group| group.state == "running")
        .collect();
    let guilty = versions::signed("// RUNNING ");
    let guilty = guilty.of("guilty");
    let has = |group: &&TaskGroup, mark: &Mark| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(|frame| is_at(frame, mark))
    };
    let shown = running
        .iter()
        .any(|group| guilty.iter().any(|mark| has(group, mark)));
    assert!(shown, "{mode}: {running:#?}");
    expect_ten(&stack);
}

/// The ten that wait show their lines, whatever became of the process.
fn expect_ten(stack: &Stack) {
    let marks = versions::marks();
    for name in marks.names_in("service/src/") {
        let lines = marks.of(name);
        let mut groups = stack.task_groups().iter();
        let is_shown = groups.any(|group| {
            let frames = || group.stacks.iter().flat_map(|chain| &chain.frames);
            lines
                .iter()
                .all(|mark| frames().any(|frame| is_at(frame, mark)))
        });
        assert!(is_shown, "{name}: {:#?}", stack.task_groups());
    }
}

fn is_at(frame: &Frame, mark: &Mark) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    file.ends_with("service/src/main.rs") && frame.line == Some(mark.line)
}

#[test]
fn the_body_of_main_shows_like_a_task() {
    let mut victim = Victim::start(versions::newest(), &["ten"]).parked();
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
    assert!(frames.any(|frame| is_at(frame, main)), "{group:#?}");
}

#[test]
fn ended_tasks_are_counted_and_never_listed() {
    let mut victim = Victim::start(versions::newest(), &["ten"]).parked();
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
    let mut victim = Victim::start(versions::newest(), &["lost"]).parked();
    let Some(core) = victim.dump() else { return };
    let text = of_core(&["stack"], &core, &["--tasks"]).success();
    assert!(text.stdout.contains("ready, nobody has woken it"), "{text}");
    let marks = versions::signed("// READY ");
    let [ready] = marks.of("lost") else {
        panic!("one line is marked");
    };
    let stack = stack(&core, &["--tasks"]);
    let mut groups = stack.task_groups().iter();
    let is_shown = groups.any(|group| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        group.state == "ready" && frames.any(|frame| is_at(frame, ready))
    });
    assert!(is_shown, "{:#?}", stack.task_groups());
}
