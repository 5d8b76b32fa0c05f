//! The forest of a dump's tasks: who spawned whom.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    dump::Dump,
    group::TaskGroup,
    task::{MAX_NESTING, Task, TaskKey},
};

/// The most generations that are shown.
pub const MAX_DEPTH: usize = 64;

/// Tasks that look the same and were spawned by tasks that look the same.
#[derive(Debug)]
pub struct Node<'a> {
    /// The tasks.
    pub group: TaskGroup<'a>,
    /// The groups of tasks that they spawned.
    pub children: Vec<Self>,
    /// How many of them were spawned by a task that has ended.
    pub orphans: usize,
}

/// Places the tasks of some groups below the tasks that spawned them. A task whose parent is
/// in no group or has ended is a root.
pub fn forest<'a>(dump: &'a Dump, groups: &[TaskGroup<'a>]) -> Vec<Node<'a>> {
    let mut group_of = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        group_of.extend(group.tasks.iter().map(|task| (task.key, number)));
    }
    let mut builder = Builder {
        groups,
        all: dump.tasks_by_key(),
        group_of,
        children: HashMap::new(),
        placed: HashSet::new(),
    };
    let tasks = || groups.iter().flat_map(|group| group.tasks.iter().copied());
    let mut roots = Vec::new();
    for task in tasks() {
        match builder.parent(task) {
            Some(parent) => builder.children.entry(parent).or_default().push(task),
            None => roots.push(task),
        }
    }
    let mut forest = builder.nodes(roots, 0);
    // Each of these was spawned by another of them, which no honest agent reports.
    let left = tasks().filter(|task| !builder.placed.contains(&task.key));
    let left: Vec<&Task> = left.collect();
    forest.extend(builder.nodes(left, MAX_DEPTH));
    forest
}

struct Builder<'d, 'a> {
    groups: &'d [TaskGroup<'a>],
    all: HashMap<TaskKey, &'a Task>,
    group_of: HashMap<TaskKey, usize>,
    children: HashMap<TaskKey, Vec<&'a Task>>,
    placed: HashSet<TaskKey>,
}

impl<'a> Builder<'_, 'a> {
    /// Returns the nearest ancestor of a task that is in a group, skipping spans and other tasks.
    fn parent(&self, task: &Task) -> Option<TaskKey> {
        let mut parent = task.parent()?;
        for _ in 0..MAX_NESTING {
            if self.group_of.contains_key(&parent) {
                return Some(parent).filter(|parent| *parent != task.key);
            }
            parent = self.all.get(&parent)?.parent()?;
        }
        None
    }

    fn nodes(&mut self, tasks: Vec<&'a Task>, depth: usize) -> Vec<Node<'a>> {
        let mut siblings: BTreeMap<usize, Vec<&'a Task>> = BTreeMap::new();
        for task in tasks {
            if self.placed.insert(task.key)
                && let Some(group) = self.group_of.get(&task.key)
            {
                siblings.entry(*group).or_default().push(task);
            }
        }
        let mut nodes = Vec::with_capacity(siblings.len());
        for (group, tasks) in siblings {
            let children = tasks
                .iter()
                .filter_map(|task| self.children.remove(&task.key));
            let children: Vec<&Task> = children.flatten().collect();
            let parents = tasks.iter().filter_map(|task| task.parent());
            let orphans = parents
                .filter(|parent| !self.all.contains_key(parent))
                .count();
            let Some(group) = self.groups.get(group).map(|group| group.with(tasks)) else {
                continue;
            };
            let children = if depth < MAX_DEPTH {
                self.nodes(children, depth + 1)
            } else {
                Vec::new()
            };
            nodes.push(Node {
                group,
                children,
                orphans,
            });
        }
        nodes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{Reply, Stacks, Strings, Task, TaskKind};

    use super::*;
    use crate::{
        dump::fixtures::{end, receive, task},
        frames::fixtures::frames,
        group::group_tasks,
        selection::{Grouping, Selection},
    };

    /// Draws the forest as `2 main(1 conn)`: the number of tasks and their names.
    fn drawn(tasks: Vec<Task>) -> String {
        let names = ["main", "conn", "query"].map(str::to_owned);
        let dump = receive(vec![
            Reply::Strings(Strings(names.to_vec())),
            Reply::Stacks(Stacks(vec![vec![1]])),
            Reply::Tasks(tasks),
            end(),
        ])
        .unwrap();
        let frames = frames(&["recv serve"]);
        let everything = Selection::default();
        let groups = group_tasks(&dump, &frames, &everything, Grouping::Equal);
        nodes(&forest(&dump, &groups))
    }

    fn nodes(forest: &[Node]) -> String {
        let parts = forest.iter().map(|node| {
            let name = node.group.look.name.unwrap_or_default();
            let orphans = match node.orphans {
                0 => String::new(),
                orphans => format!(" orphaned {orphans}"),
            };
            let children = match node.children.as_slice() {
                [] => String::new(),
                children => format!("({})", nodes(children)),
            };
            format!("{} {name}{orphans}{children}", node.group.tasks.len())
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn spawned(id: u64, parent: u64, name: u32) -> Task {
        Task {
            parent,
            ..task(id, name, &[0])
        }
    }

    #[test]
    fn equal_children_of_equal_parents_are_one_node() {
        let tasks = vec![
            spawned(1, 0, 1),
            spawned(2, 1, 2),
            spawned(3, 1, 2),
            spawned(4, 2, 3),
            spawned(5, 3, 3),
            spawned(6, 3, 3),
        ];
        assert_eq!(drawn(tasks), "1 main(2 conn(3 query))");
    }

    #[test]
    fn what_a_span_spawned_is_below_its_task() {
        let span = Task {
            kind: TaskKind::Span,
            ..spawned(2, 1, 2)
        };
        assert_eq!(
            drawn(vec![spawned(1, 0, 1), span, spawned(3, 2, 3)]),
            "1 main(1 query)"
        );
    }

    #[test]
    fn orphans_and_rings_stand_at_the_root() {
        assert_eq!(drawn(vec![spawned(1, 77, 1)]), "1 main orphaned 1");
        assert_eq!(
            drawn(vec![spawned(1, 2, 1), spawned(2, 1, 2)]),
            "1 conn, 1 main"
        );
        assert_eq!(drawn(vec![spawned(1, 1, 1)]), "1 main");
        let chain: Vec<Task> = (1..1000).map(|id| spawned(id, id - 1, 1)).collect();
        assert!(drawn(chain).starts_with("1 main(1 main("));
    }
}
