//! Circles of tasks that wait for one another, with equal circles grouped.

use std::collections::{BTreeMap, HashMap};

use rtops_protocol::SourceLocation;

use super::sample::{Site, site};
use crate::{
    dump::Dump,
    format,
    group::TaskGroup,
    task::TaskKey,
    waits::{Circle, Step, Waits, WaitsFor},
};

/// Circles with the same cause.
#[derive(Debug)]
pub struct Deadlock<'a> {
    /// The circle that has lasted longest.
    pub example: Circle<'a>,
    /// The number of circles.
    pub count: usize,
    /// How many tasks wait for those in the circles.
    pub behind: usize,
    /// The tasks of the circles, grouped with equal ones.
    pub groups: Vec<TaskGroup<'a>>,
    tasks: Vec<TaskKey>,
}

impl Deadlock<'_> {
    /// Iterates over the tasks in the circles and behind them.
    pub fn tasks(&self) -> impl Iterator<Item = TaskKey> {
        self.tasks.iter().copied()
    }

    /// Describes the deadlock in a sentence.
    pub fn why(&self) -> String {
        let each = match self.example.steps.as_slice() {
            [_] => "a task waits for what only it could let go".to_owned(),
            steps => format!("{} tasks wait for each other in a circle", steps.len()),
        };
        let count = match self.count {
            1 => each,
            count => format!("{each}; there are {count} such circles"),
        };
        match self.behind {
            0 => count,
            behind => format!("{count}; {} behind", format::count(behind, "more task")),
        }
    }
}

/// What makes two steps equal: where the task was spawned, where it waits, and where the next
/// task took what this one waits for.
type StepLook = (Option<Site>, Option<Site>, Option<Site>);

/// Returns all deadlocks, the one with the most circles first.
pub(crate) fn deadlocks<'a>(
    dump: &'a Dump,
    waits: &Waits<'a>,
    groups: &[TaskGroup<'a>],
) -> Vec<Deadlock<'a>> {
    let mut alike: BTreeMap<Vec<StepLook>, Vec<Circle<'a>>> = BTreeMap::new();
    for circle in waits.circles() {
        let mut look: Vec<StepLook> = circle.steps.iter().map(|step| look(dump, step)).collect();
        // The start of a circle depends on the numbers of its tasks.
        look.sort_unstable();
        alike.entry(look).or_default().push(circle);
    }
    let mut group_of = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        group_of.extend(group.tasks.iter().map(|task| (task.key, number)));
    }
    let mut deadlocks: Vec<Deadlock> = alike
        .into_values()
        .filter_map(|circles| together(circles, groups, &group_of))
        .collect();
    deadlocks.sort_by_key(|deadlock| std::cmp::Reverse(deadlock.count));
    deadlocks
}

fn look(dump: &Dump, step: &Step) -> StepLook {
    let place = |location: SourceLocation| site(dump, location);
    let waits_at = match step.waits_for {
        WaitsFor::Resource(_, claim) => Some(place(claim.site)),
        WaitsFor::Task(_) | WaitsFor::Shared(..) => None,
    };
    let taken_at = step.held_by_next.map(|held| place(held.site));
    (step.task.site().map(place), waits_at, taken_at)
}

fn together<'a>(
    mut circles: Vec<Circle<'a>>,
    groups: &[TaskGroup<'a>],
    group_of: &HashMap<TaskKey, usize>,
) -> Option<Deadlock<'a>> {
    let in_circles = || circles.iter().flat_map(|circle| &circle.steps);
    let mut members: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for task in in_circles().map(|step| step.task) {
        if let Some(group) = group_of.get(&task.key) {
            members.entry(*group).or_default().push(task);
        }
    }
    // The user asked to ignore all of its tasks.
    if members.is_empty() {
        return None;
    }
    let behind: Vec<TaskKey> = circles.iter().flat_map(|one| one.behind.clone()).collect();
    let mut tasks: Vec<TaskKey> = in_circles().map(|step| step.task.key).collect();
    tasks.extend(&behind);
    circles.sort_by_key(|circle| {
        let since = circle.steps.iter().map(|step| step.task.since());
        since.min()
    });
    Some(Deadlock {
        count: circles.len(),
        behind: behind.len(),
        groups: members
            .into_iter()
            .filter_map(|(group, tasks)| Some(groups.get(group)?.with(tasks)))
            .collect(),
        tasks,
        example: circles.pop()?,
    })
}
