//! Tasks that are easy to misread.

use super::{Victim, of_core, packages, stack};
use crate::{
    reply::{Stack, TaskGroup},
    source::{Mark, Marks},
    support::Run,
};

/// Three that are alive, three with children, two with trait objects, a box, one
/// that copies, two with custom wakers, two that wait for signals, one that
/// keeps others, and one that runs an executor.
const TASKS: usize = 16;

#[test]
fn each_task_is_shown_once_and_called_by_its_name() {
    let mut victim = Victim::start(&packages::program("forms"), &[]).parked();
    let Some(core) = victim.dump() else { return };
    let text = of_core(&["stack"], &core, &["--tasks"]).success();
    expect(&text, &stack(&core, &["--tasks"]));
}

/// Expects what any look at the program has to show.
pub fn expect(text: &Run, stack: &Stack) {
    let groups = || stack.task_groups().iter();

    // Tasks that have ended are not shown but counted.
    let tasks = groups().filter(|group| group.kind == "task");
    let tasks: usize = tasks.map(|group| group.tasks.len()).sum();
    assert_eq!(tasks, TASKS, "{text}");
    let kept = "ended tasks are kept by their join handles: 40 x forms::request";
    assert!(text.stdout.contains(kept), "{text}");

    let named = |name: &str| {
        let is_named = |group: &&TaskGroup| {
            let future = group.future_type.as_deref().unwrap_or_default();
            group.kind == "task" && future.starts_with(name)
        };
        let mut named = groups().filter(is_named);
        match (named.next(), named.next()) {
            (Some(group), None) => group,
            (found, more) => panic!("{name}: {found:#?} {more:#?} {text}"),
        }
    };
    let marks = Marks::of_text(packages::FORMS, "forms/src/forms.rs");
    for (name, mark, count) in [
        ("forms::alive", "alive", 3),
        ("forms::crawl", "children", 1),
        ("forms::nest", "nested", 1),
        ("forms::forget", "forgotten", 1),
        ("forms::sync_users", "shared-object", 1),
        ("forms::on_tick", "boxed-closure", 1),
        ("boxed forms::inside_a_box", "boxed", 1),
        ("forms::copies", "copies", 1),
        ("forms::unharmed::", "unharmed", 1),
        ("forms::unharmed_apart::", "unharmed-apart", 1),
        ("forms::main::", "ctrl-c", 1),
        ("forms::wait_for_signal", "signal", 1),
        ("forms::listen", "keeper", 1),
    ] {
        let group = named(name);
        assert_eq!(group.tasks.len(), count, "{text}");
        group.expect_lines(marks.of(mark));
        // With the exhausted budget of the thread that is in `work`, none would get that far.
        assert!(
            !group.waits.iter().any(|wait| wait.contains("budget")),
            "{text}"
        );
    }
    let children = |all: usize, places: &[(usize, &Mark)]| {
        let places = places.iter();
        let places =
            places.map(|(count, mark)| format!("{count} at crates/{}:{}", mark.file, mark.line));
        let places: Vec<String> = places.collect();
        let line = format!("{all} children: {}", places.join(", "));
        assert!(text.stdout.contains(&line), "{line}: {text}");
    };
    let [notified, slept, _] = marks.of("children") else {
        panic!("three lines are marked");
    };
    children(12, &[(8, slept), (4, notified)]);
    let [leaf] = marks.of("nested") else {
        panic!("one line is marked");
    };
    children(20, &[(20, leaf)]);
    let [_, remembered, forgotten] = marks.of("forgotten") else {
        panic!("three lines are marked");
    };
    children(42, &[(40, forgotten), (2, remembered)]);

    let running = Marks::signed(packages::FORMS, "forms/src/forms.rs", "// RUNNING ");
    let work = named("forms::work");
    assert_eq!(work.state, "running", "{text}");
    work.expect_lines(running.of("work"));
}
