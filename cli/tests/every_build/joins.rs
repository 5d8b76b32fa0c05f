//! Tasks that await the join handles of others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BUILD, look, reply::Stack, support::Target};

#[test]
fn each_task_awaits_its_own_child_and_no_other() {
    let target = Target::start(BUILD, &["joins"]);
    let stack = target.stack(&["--tasks"]);
    let mut pairs = 0;
    while let Some(parent) = id(&stack, &format!("parent {pairs}")) {
        let child = id(&stack, &format!("child {pairs}")).unwrap();
        assert_eq!(awaited(&stack, parent), [child], "pair {pairs}");
        pairs += 1;
    }
    assert!(pairs > 10);
    let both = ["left", "right"].map(|name| id(&stack, name).unwrap());
    let mut found = awaited(&stack, id(&stack, "both").unwrap());
    found.sort_unstable();
    assert_eq!(found, both);
    let [untracked] = awaited(&stack, id(&stack, "of an untracked one").unwrap())[..] else {
        panic!("it awaits one");
    };
    let untracked = stack.tasks().find(|task| task.id == untracked);
    assert_eq!(untracked.unwrap().tracked, Some(false));
}

/// Without the agent's data, the numbers of the tasks say the same.
#[test]
fn each_task_awaits_its_own_child_without_an_agent_too() {
    let target = Target::start(BUILD, &["joins"]);
    let joined = target.stack(&["--tasks"]);
    let alone = look::stack(target.pid, &["--tasks"]);
    let pairs = |stack: &Stack| -> BTreeSet<(String, String)> {
        let cells: BTreeMap<u64, String> = stack
            .tasks()
            .filter_map(|task| Some((task.id, task.cell.clone()?)))
            .collect();
        let awaits = stack.tasks().flat_map(|task| {
            let awaits = task.awaits.iter().filter_map(|id| cells.get(id));
            awaits.filter_map(|of| Some((task.cell.clone()?, of.clone())))
        });
        awaits.collect()
    };
    assert!(pairs(&joined).len() > 10, "{joined:#?}");
    assert_eq!(pairs(&alone), pairs(&joined));
}

#[test]
fn the_tree_names_the_awaited_task() {
    let target = Target::start(BUILD, &["joins"]);
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
