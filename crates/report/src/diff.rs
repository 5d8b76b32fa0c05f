//! Compares two dumps by their groups: what came, went, grew, shrank and moved.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use rtops_protocol::TaskKind;
use rtops_types::Pid;
use serde::Serialize;

use crate::{frames::Frames, group::TaskGroup, leaks::sample::Identity, task::TaskKey, words};

/// What identifies a group in every dump of a program.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Known {
    /// The name of its tasks.
    pub name: Option<String>,
    /// The type of their future.
    pub future_type: Option<String>,
    /// Whether they are tracked.
    #[serde(rename = "tracked")]
    pub is_tracked: bool,
    /// The word for their kind.
    pub kind: &'static str,
    /// What they wait for, or else the word for their state.
    pub doing: String,
    /// The places where they do so, without columns.
    pub places: BTreeSet<String>,
}

/// How a group changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Came,
    /// It is gone.
    Went,
    /// It has more tasks.
    Grew,
    /// It has fewer tasks.
    Shrank,
}

/// A group whose number of tasks changed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Changed {
    /// How it changed.
    pub change: Change,
    /// The group.
    #[serde(flatten)]
    pub group: Known,
    /// The number of tasks in it before.
    pub before: usize,
    /// The number of tasks in it after.
    pub after: usize,
}

/// Tasks that are in both dumps, but in different groups.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Moved {
    /// How many tasks made this move.
    pub count: usize,
    /// The group that they left.
    pub from: Known,
    /// The group that they are in now.
    pub to: Known,
}

/// All differences between two dumps.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Diff {
    /// The number of tasks in each dump.
    pub tasks: (usize, usize),
    /// The groups with different counts, the largest change first.
    pub groups: Vec<Changed>,
    /// The number of groups with equal counts.
    pub unchanged: usize,
    /// The moves of tasks, most tasks first.
    pub moved: Vec<Moved>,
}

/// One of the two dumps.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its groups of tasks.
    pub groups: &'a [TaskGroup<'a>],
    /// Its resolved addresses.
    pub frames: &'a Frames,
}

/// Whether the two dumps are from the same process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Processes {
    /// They are, so tasks keep their numbers.
    Same,
    /// They are from two processes, or from one that was restarted.
    Different,
}

/// A dump, as presented to the user.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The number of the process.
    pub pid: Pid,
    /// The name of the process.
    pub name: &'a str,
    /// What is missing from the dump.
    pub gaps: &'a [String],
}

/// What `rtops diff` shows.
#[derive(Clone, Copy, Debug)]
pub struct DiffView<'a> {
    /// The older dump.
    pub before: Subject<'a>,
    /// The newer dump.
    pub after: Subject<'a>,
    /// The time between them, if the clock shows it.
    pub time: Option<Duration>,
    /// Whether they are from the same process.
    pub processes: Processes,
    /// The differences.
    pub diff: &'a Diff,
    /// The most groups, and the most moves, to show.
    pub limit: usize,
}

impl Known {
    fn of(group: &TaskGroup, frames: &Frames) -> Self {
        let look = &group.look;
        let places = group.chains.iter();
        Self {
            name: look.name.map(str::to_owned),
            future_type: look.future_type.as_deref().map(str::to_owned),
            is_tracked: look.is_tracked,
            kind: words::kind(look.kind),
            doing: group.doing(),
            places: places
                .filter_map(|chain| frames.own_place(&chain.links))
                .collect(),
        }
    }
}

impl Change {
    /// Returns the word for the change.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Came => "came",
            Self::Went => "went",
            Self::Grew => "grew",
            Self::Shrank => "shrank",
        }
    }

    fn of(before: usize, after: usize) -> Option<Self> {
        match (before, after) {
            _ if before == after => None,
            (0, _) => Some(Self::Came),
            (_, 0) => Some(Self::Went),
            _ if before < after => Some(Self::Grew),
            _ => Some(Self::Shrank),
        }
    }
}

impl Diff {
    /// Compares two dumps. Spans belong to their tasks and are not counted.
    #[must_use]
    pub fn of(before: Side, after: Side, processes: Processes) -> Self {
        let (old, new) = (counts(before), counts(after));
        let mut diff = Self {
            tasks: (old.values().sum(), new.values().sum()),
            ..Self::default()
        };
        let gone = old.keys().filter(|known| !new.contains_key(*known));
        for known in new.keys().chain(gone) {
            let count = |of: &HashMap<Known, usize>| of.get(known).copied().unwrap_or(0);
            let (before, after) = (count(&old), count(&new));
            match Change::of(before, after) {
                None => diff.unchanged += 1,
                Some(change) => diff.groups.push(Changed {
                    change,
                    group: known.clone(),
                    before,
                    after,
                }),
            }
        }
        diff.groups
            .sort_by(|one, other| one.order().cmp(&other.order()));
        if processes == Processes::Same {
            diff.moved = moved(before, after);
        }
        diff
    }
}

impl Changed {
    fn order(&self) -> impl Ord + '_ {
        let difference = self.before.abs_diff(self.after);
        (
            Reverse(difference),
            Reverse(self.before.max(self.after)),
            &self.group,
        )
    }
}

/// Returns the number of tasks in each group.
fn counts(side: Side) -> HashMap<Known, usize> {
    let mut counts = HashMap::new();
    for group in side
        .groups
        .iter()
        .filter(|group| group.look.kind != TaskKind::Span)
    {
        *counts.entry(Known::of(group, side.frames)).or_insert(0) += group.tasks.len();
    }
    counts
}

/// Returns the tasks that are in another group than before, by their old and new groups.
fn moved(before: Side, after: Side) -> Vec<Moved> {
    let mut were = HashMap::new();
    let known: Vec<Known> = before
        .groups
        .iter()
        .map(|group| Known::of(group, before.frames))
        .collect();
    for (group, known) in before.groups.iter().zip(&known) {
        for task in &group.tasks {
            were.extend(Identity::all_of(task).map(|identity| (identity, known)));
        }
    }
    let mut ways: HashMap<(&Known, Known), BTreeSet<TaskKey>> = HashMap::new();
    for group in after.groups {
        let to = Known::of(group, after.frames);
        for task in &group.tasks {
            let from = Identity::all_of(task).find_map(|identity| were.get(&identity));
            if let Some(from) = from.filter(|from| ***from != to) {
                ways.entry((*from, to.clone()))
                    .or_default()
                    .insert(task.key);
            }
        }
    }
    let mut moved: Vec<Moved> = ways
        .into_iter()
        .map(|((from, to), tasks)| Moved {
            count: tasks.len(),
            from: from.clone(),
            to,
        })
        .collect();
    moved.sort_by(|one, other| {
        let key = |moved: &Moved| (Reverse(moved.count), moved.from.clone(), moved.to.clone());
        key(one).cmp(&key(other))
    });
    moved
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{End, Reply, Stacks, Strings, Task};

    use super::*;
    use crate::{
        dump::{
            Dump,
            fixtures::{receive, task},
        },
        frames::fixtures::frames,
        group::group_tasks,
        selection::{Grouping, Selection},
    };

    const STACKS: [&str; 4] = ["recv serve", "recv serve", "sleep tick", "sleep serve"];

    /// Makes a dump of tasks given by number, name and stack; dumps number their names differently.
    fn dump(names: [&str; 2], tasks: Vec<Task>) -> Dump {
        receive(vec![
            Reply::Strings(Strings(names.map(str::to_owned).to_vec())),
            Reply::Stacks(Stacks(vec![vec![1], vec![2], vec![3], vec![4]])),
            Reply::Tasks(tasks),
            Reply::End(End { gaps: Vec::new() }),
        ])
        .unwrap()
    }

    fn diff(before: &Dump, after: &Dump, processes: Processes) -> Diff {
        let frames = frames(&STACKS);
        let groups = |dump| group_tasks(dump, &frames, &Selection::default(), Grouping::Equal);
        let (old, new) = (groups(before), groups(after));
        let side = |groups| Side {
            groups,
            frames: &frames,
        };
        Diff::of(side(&old), side(&new), processes)
    }

    fn words(known: &Known) -> String {
        let places: Vec<_> = known.places.iter().map(String::as_str).collect();
        let name = known.name.as_deref().unwrap_or_default();
        format!("{name} {} {}", known.doing, places.join(" "))
    }

    fn lines(diff: &Diff) -> Vec<String> {
        let line = |changed: &Changed| {
            let (word, group) = (changed.change.word(), words(&changed.group));
            format!("{} {} {word} {group}", changed.before, changed.after)
        };
        let moved = |moved: &Moved| {
            let (from, to) = (words(&moved.from), words(&moved.to));
            format!("{} moved from {from} to {to}", moved.count)
        };
        let groups = diff.groups.iter().map(line);
        groups.chain(diff.moved.iter().map(moved)).collect()
    }

    #[test]
    fn what_changed_most_is_first_and_tasks_are_followed() {
        let before = dump(
            ["conn", "tick"],
            vec![
                task(1, 1, &[0]),
                task(2, 1, &[1]),
                task(3, 1, &[0]),
                task(4, 2, &[2]),
            ],
        );
        let after = dump(
            ["tick", "conn"],
            vec![
                task(1, 2, &[3]),
                task(2, 2, &[0]),
                task(3, 2, &[0]),
                task(5, 2, &[1]),
                task(6, 2, &[0]),
                task(7, 2, &[0]),
            ],
        );
        let both = diff(&before, &after, Processes::Same);
        assert_eq!((both.tasks, both.unchanged), ((4, 6), 0));
        assert_eq!(
            lines(&both),
            [
                "3 5 grew conn waiting src/recv.rs:7",
                "0 1 came conn waiting src/sleep.rs:7",
                "1 0 went tick waiting src/sleep.rs:7",
                "1 moved from conn waiting src/recv.rs:7 to conn waiting src/sleep.rs:7",
            ]
        );
        let back = diff(&after, &before, Processes::Same);
        let first = back.groups.first().unwrap();
        assert_eq!(
            (first.change, first.before, first.after),
            (Change::Shrank, 5, 3)
        );
        // Numbers from another process mean nothing.
        assert!(diff(&before, &after, Processes::Different).moved.is_empty());
    }

    #[test]
    fn what_is_as_it_was_is_counted() {
        let before = dump(["conn", "tick"], vec![task(1, 1, &[0]), task(2, 2, &[2])]);
        let after = dump(["conn", "tick"], vec![task(9, 1, &[1]), task(2, 2, &[2])]);
        let diff = diff(&before, &after, Processes::Same);
        assert_eq!((lines(&diff), diff.unchanged), (Vec::new(), 2));
    }
}
