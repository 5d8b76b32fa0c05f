//! Whose handles are awaited.

use crate::{
    reply::Stack,
    support::{Build, Target},
};

#[test]
fn each_task_awaits_its_own_child_and_no_other() {
    for build in [Build::Dev, Build::Release] {
        let target = Target::start(build, &["joins"]);
        let stack = target.stack(&["--tasks"]);
        let mut pairs = 0;
        while let Some(parent) = id(&stack, &format!("parent {pairs}")) {
            let child = id(&stack, &format!("child {pairs}")).unwrap();
            assert_eq!(awaited(&stack, parent), [child], "{build:?}, pair {pairs}");
            pairs += 1;
        }
        assert!(pairs > 10);
        let both = ["left", "right"].map(|name| id(&stack, name).unwrap());
        let mut found = awaited(&stack, id(&stack, "both").unwrap());
        found.sort_unstable();
        assert_eq!(found, both, "{build:?}");
        // Nothing is known of it, and so nothing is said.
        let of_untracked = id(&stack, "of an untracked one").unwrap();
        assert!(awaited(&stack, of_untracked).is_empty(), "{build:?}");
    }
}

#[test]
fn the_tree_names_the_awaited_task() {
    let target = Target::start(Build::Dev, &["joins"]);
    let text = target.stack_text(&["--tree"]);
    let line = text
        .lines()
        .find(|line| line.contains("\"parent 7\""))
        .unwrap();
    assert!(
        line.contains("awaits task ") && line.contains("\"child 7\""),
        "{text}"
    );
}

fn id(stack: &Stack, name: &str) -> Option<u64> {
    let mut groups = stack.task_groups().iter();
    let group = groups.find(|group| group.name.as_deref() == Some(name))?;
    group.tasks.first().map(|task| task.id)
}

fn awaited(stack: &Stack, id: u64) -> Vec<u64> {
    let task = stack.tasks().find(|task| task.id == id).unwrap();
    task.awaits.clone()
}
