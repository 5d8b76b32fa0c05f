//! More processes that are looked at from outside.

use std::collections::BTreeMap;

use crate::{
    core::{block_on, forms, packages, versions},
    every_build::outside::expect_awaits,
    look::{look, stack},
    reply::Stack,
    support::{Build, Target},
    versions::expected,
    victim::Victim,
};

#[test]
fn each_version_of_tokio() {
    for version in versions::VERSIONS {
        let service = packages::service(version).build().join("service");
        let victim = Victim::start(&service, &["ten"]).parked();
        let marks = versions::marks();
        let verdict = expected(&marks, &[]).compare(&stack(victim.pid(), &["--tasks"]));
        assert!(verdict.is_right(), "tokio {version}: {verdict}");
        eprintln!("tokio {version}: all right");
    }
}

#[test]
fn all_futures_in_block_on() {
    let victim = Victim::start(&packages::program("block_on"), &[]).quiet();
    block_on::expect(&stack(victim.pid(), &[]));
}

#[test]
fn what_is_easily_told_wrong() {
    let victim = Victim::start(&packages::program("forms"), &[]).parked();
    let text = look(&["stack"], victim.pid(), &["--tasks"]).success();
    assert!(
        text.stdout
            .contains("looked at from outside, without an agent"),
        "{text}"
    );
    forms::expect(&text, &stack(victim.pid(), &["--tasks"]));
}

#[test]
fn on_one_thread() {
    expect_awaits("current");
}

#[test]
fn in_a_local_set() {
    expect_awaits("local");
}

/// The agent's data of a task is shown with the task that is read.
#[test]
fn with_an_agent_the_same_is_shown_and_more() {
    for executor in ["multi", "current", "local"] {
        let target = Target::start(Build::Release, &["awaits", executor]);
        let alone = stack(target.pid, &["--tasks"]);
        let joined = target.stack(&["--tasks"]);
        let cells = |stack: &Stack| -> BTreeMap<String, u64> {
            let tasks = stack.tasks();
            let tasks = tasks.filter_map(|task| Some((task.cell.clone()?, task.tokio_id?)));
            tasks.collect()
        };
        assert_eq!(cells(&joined), cells(&alone), "{executor}");
        let is_tracked = |task: &&crate::reply::Task| task.tracked == Some(true);
        let tracked = joined.tasks().filter(is_tracked);
        assert!(tracked.count() > 35, "{executor}");
        for group in joined.task_groups() {
            let is_task = group.kind == "task" && group.tasks[0].tracked == Some(true);
            let is_read = group.tasks.iter().all(|task| task.tokio_id.is_some());
            assert!(!is_task || (is_read && group.name.is_some()), "{group:#?}");
        }
    }
}
