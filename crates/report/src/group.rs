//! Groups tasks that wait in the same way.
//!
//! Tasks are first grouped by numbers alone, since 100,000 tasks have few distinct stacks. Groups
//! that look alike once their frames have names are then merged.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::Duration,
};

use regex::Regex;
use rtops_protocol::{Leaf, SourceLocation, StackId, StringId, TaskKind};
use rtops_symbols::{Place, WaitReason};
use serde::Serialize;

use crate::{
    chains::Chains,
    dump::Dump,
    frame::{Frame, FrameId},
    frames::Frames,
    remarks::{self, Reason},
    selection::{Grouping, Selection},
    spans::Spans,
    stepped::{Shown, Stepped, sorted},
    task::{Origin, Polls, State, Task, TaskKey},
    threads,
    tree::Chain,
    untracked::{is_worker, is_worker_thread},
    words,
};

/// Tasks that look the same.
#[derive(Debug)]
pub struct TaskGroup<'a> {
    /// The tasks; the only differences among them are numbers such as ages.
    pub tasks: Vec<&'a Task>,
    /// What they have in common. If their names differ only in numbers, the first name.
    pub look: Look<'a>,
    /// The last of such names, if there are several.
    pub last_name: Option<&'a str>,
    /// One chain for each place where the tasks wait.
    pub chains: Vec<Chain>,
    /// Whether some of the chains are known only from a poll in the interpreter.
    pub is_stepped: bool,
}

/// What the tasks of a group have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Look<'a> {
    /// The kind of task.
    #[serde(serialize_with = "words::serialize_kind")]
    pub kind: TaskKind,
    /// The name they were given.
    pub name: Option<&'a str>,
    /// The type of their future; if it is unknown for untracked tasks, the poll function.
    pub future_type: Option<Cow<'a, str>>,
    /// Whether they are tracked. For untracked tasks, no times and no spawn site are known.
    #[serde(rename = "tracked")]
    pub is_tracked: bool,
    /// What they are doing.
    pub state: State,
    /// Where they were spawned or tracked.
    pub site: Option<Place>,
    /// The place of their future's code, if its type does not show it.
    #[serde(skip)]
    pub code: Option<Place>,
    /// The names of the spans inside.
    pub spans: Vec<&'a str>,
    /// The names of the spans that wait without having registered, so that no chain shows them.
    #[serde(skip)]
    pub silent: Vec<&'a str>,
    /// The names of the spans that are held back: between two parts, and nobody
    /// asks for the next one.
    #[serde(skip)]
    pub held_back: Vec<&'a str>,
    /// Why it is unknown where they wait, or only partly known.
    pub remark: Option<&'static str>,
    /// Why only their type is known; untracked tasks only.
    #[serde(skip)]
    pub unresolved: Option<Reason>,
    #[serde(skip)]
    chains: Vec<(Vec<FrameId>, Option<WaitReason>)>,
}

/// What can be compared without looking at frames.
#[derive(Eq, Hash, PartialEq)]
struct Key {
    kind: TaskKind,
    future: Future,
    state: State,
    spans: Vec<(StringId, SpanLook)>,
    leaves: Vec<Leaf>,
    shown: Shown,
    /// Set if every task is shown on its own.
    alone: Option<TaskKey>,
}

/// A future, as far as it can be compared without looking at frames.
#[derive(Eq, Hash, PartialEq)]
enum Future {
    Tracked {
        name: StringId,
        future_type: StringId,
        site: SourceLocation,
    },
    Untracked(Polls),
}

/// How a span shows in the chains of its task.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum SpanLook {
    InChains,
    Silent,
    HeldBack,
}

impl SpanLook {
    fn of(span: &Task) -> Self {
        match span.state {
            State::HeldBack => Self::HeldBack,
            state if state.is_suspended() && span.leaves.is_empty() => Self::Silent,
            _ => Self::InChains,
        }
    }
}

impl<'a> TaskGroup<'a> {
    /// Returns a group of these tasks that looks the same.
    #[must_use]
    pub fn with(&self, tasks: Vec<&'a Task>) -> Self {
        Self {
            is_stepped: self.is_stepped,
            tasks,
            look: self.look.clone(),
            last_name: self.last_name,
            chains: self.chains.clone(),
        }
    }

    /// Returns the shortest and the longest time that the tasks have been in their state, if known.
    pub fn times(&self) -> Option<(Duration, Duration)> {
        self.range(Task::since)
    }

    /// Returns the ages of the youngest and the oldest task, if known.
    pub fn ages(&self) -> Option<(Duration, Duration)> {
        self.range(|task| Some(task.tracked()?.age))
    }

    fn range(&self, time: impl Fn(&Task) -> Option<Duration>) -> Option<(Duration, Duration)> {
        let times = || self.tasks.iter().filter_map(|task| time(task));
        Some((times().min()?, times().max()?))
    }

    /// Returns the frame of the service's own code where the tasks are, if their
    /// futures are foreign and unnamed.
    pub fn own_function<'f>(&self, frames: &'f Frames) -> Option<&'f Frame> {
        let is_task = matches!(self.look.kind, TaskKind::Task | TaskKind::Blocking);
        if !frames.is_folded() || self.look.name.is_some() || !is_task {
            return None;
        }
        let is_own = |chain: &Chain| chain.links.last().is_some_and(|root| frames.is_own(root));
        if self.chains.iter().any(is_own) {
            return None;
        }
        let telling = self.telling();
        telling
            .iter()
            .find_map(|chain| frames.innermost_own(&chain.links))
    }

    /// Returns the distinct wait reasons of the tasks.
    pub fn waits(&self) -> Vec<WaitReason> {
        let mut waits = Vec::new();
        for wait in self.telling().iter().filter_map(|chain| chain.wait) {
            if !waits.contains(&wait) {
                waits.push(wait);
            }
        }
        waits
    }

    /// Returns what the tasks wait for, if known, or else the word for their state.
    pub fn doing(&self) -> String {
        let waits = self.waits();
        match self.look.state {
            State::Waiting if !waits.is_empty() => WaitReason::words(&waits),
            state => state.word().to_owned(),
        }
    }
}

impl Look<'_> {
    /// Whether a name, type, place, function or file matches.
    pub fn matches(&self, filter: &Regex, chains: &[Chain], frames: &Frames) -> bool {
        let texts = [
            self.name,
            self.future_type.as_deref(),
            self.site.as_ref().map(|site| &*site.file),
        ];
        let mut texts = texts
            .into_iter()
            .flatten()
            .chain(self.spans.iter().copied());
        texts.any(|text| filter.is_match(text))
            || chains
                .iter()
                .any(|chain| frames.matches(filter, &chain.links))
    }
}

/// Returns the stacks needed to show the tasks of a dump.
pub fn stacks_of_tasks(dump: &Dump) -> HashSet<StackId> {
    let leaves = dump.tasks.iter().flat_map(|task| &task.leaves);
    let wakes = dump.tasks.iter();
    let wakes = wakes.filter_map(|task| task.memory()?.wakes_itself.as_ref());
    leaves.chain(wakes).map(|leaf| leaf.stack).collect()
}

/// Returns how many tasks a selection leaves out because it is unknown how long
/// they have been in their state.
pub fn ageless(dump: &Dump, frames: &Frames, selection: &Selection) -> usize {
    if selection.min_age.is_none_or(|min_age| min_age.is_zero()) {
        return 0;
    }
    let tasks = dump.tasks.iter();
    tasks
        .filter(|task| task.since().is_none() && !is_hidden(dump, frames, task))
        .count()
}

/// Groups the selected tasks, the largest group first, then the one with the longest wait.
pub fn group_tasks<'a>(
    dump: &'a Dump,
    frames: &Frames,
    selection: &Selection,
    grouping: Grouping,
) -> Vec<TaskGroup<'a>> {
    let spans = Spans::of(dump);
    let min_age = selection.min_age.filter(|age| !age.is_zero());
    let mut all_chains = Chains::new(dump, frames);
    let mut by_key: HashMap<Key, Vec<&Task>> = HashMap::new();
    let wanted = selection.tasks.as_ref();
    for task in &dump.tasks {
        if wanted.is_some_and(|wanted| !wanted.contains(&task.key)) {
            continue;
        }
        if is_hidden(dump, frames, task) || spans.is_inside(task) {
            continue;
        }
        if min_age.is_none_or(|age| task.since().is_some_and(|since| since >= age)) {
            let key = key(task, &spans, all_chains.stepped(), grouping);
            by_key.entry(key).or_default().push(task);
        }
    }
    let mut by_look: HashMap<(Look, Option<TaskKey>), TaskGroup> = HashMap::new();
    for (key, tasks) in by_key {
        let Some(task) = tasks.first() else { continue };
        let (chains, by_steps) = all_chains.found(task, &spans);
        let look = look(dump, frames, task, &key, &chains);
        let filter = selection.filter.as_ref();
        if filter.is_some_and(|filter| !look.matches(filter, &chains, frames)) {
            continue;
        }
        let group = by_look
            .entry((look.clone(), key.alone))
            .or_insert_with(|| TaskGroup {
                tasks: Vec::new(),
                look,
                last_name: None,
                chains,
                is_stepped: false,
            });
        group.is_stepped |= by_steps;
        group.tasks.extend(tasks);
    }
    let mut groups: Vec<TaskGroup> = by_look.into_values().collect();
    for group in &mut groups {
        group.tasks.sort_unstable_by_key(|task| task.key);
    }
    groups.sort_by_key(|group| {
        let first = group.tasks.first().map(|task| task.key);
        let longest = group.times().map(|(_, longest)| longest);
        (Reverse(group.tasks.len()), Reverse(longest), first)
    });
    groups
}

/// Whether a task is one of tokio's own threads instead of work of the service.
pub(crate) fn is_hidden(dump: &Dump, frames: &Frames, task: &Task) -> bool {
    let Some(untracked) = task.untracked() else {
        return false;
    };
    if let Some(tid) = untracked.memory.block_on {
        return threads::is_just_worker(dump, tid, frames);
    }
    let future = frames.future(untracked.polls);
    task.kind == TaskKind::Blocking
        && (future.is_some_and(|future| is_worker(&future.name)) || is_worker_thread(frames, task))
}

fn key(task: &Task, spans: &Spans, stepped: &Stepped, grouping: Grouping) -> Key {
    Key {
        kind: task.kind,
        future: match &task.origin {
            Origin::Tracked(tracked) => Future::Tracked {
                name: tracked.name,
                future_type: tracked.future_type,
                site: tracked.site,
            },
            Origin::Untracked(untracked) => Future::Untracked(untracked.polls),
        },
        state: task.state,
        spans: spans_inside(task, spans),
        leaves: sorted(&task.leaves),
        shown: stepped.of_task(task),
        alone: (grouping == Grouping::Each).then_some(task.key),
    }
}

fn spans_inside(task: &Task, spans: &Spans) -> Vec<(StringId, SpanLook)> {
    let inside = spans.inside(task.key).iter();
    let inside = inside.map(|span| (span.name(), SpanLook::of(span)));
    let mut inside: Vec<_> = inside.collect();
    inside.sort_unstable_by_key(|(name, _)| name.0);
    inside
}

fn look<'a>(dump: &'a Dump, frames: &Frames, task: &Task, key: &Key, chains: &[Chain]) -> Look<'a> {
    let looks = chains.iter().map(|chain| (chain.look(), chain.wait));
    let mut looks: Vec<_> = looks.collect();
    looks.sort_unstable();
    let names = |wanted: &[SpanLook]| {
        let spans = key.spans.iter().filter(|(_, look)| wanted.contains(look));
        let mut names: Vec<&str> = spans.filter_map(|(name, _)| dump.string(*name)).collect();
        names.dedup();
        names
    };
    let (future_type, code) = match &task.origin {
        Origin::Tracked(tracked) => (dump.string(tracked.future_type).map(Cow::Borrowed), None),
        Origin::Untracked(untracked) => {
            let future = frames.future(untracked.polls).cloned();
            let (name, place) = future.map(|future| (future.name, future.place)).unzip();
            (name.map(Cow::Owned), place.flatten())
        }
    };
    Look {
        kind: key.kind,
        name: dump.string(task.name()),
        future_type,
        is_tracked: task.tracked().is_some(),
        state: key.state,
        site: task.site().and_then(|site| dump.place(site)),
        code,
        spans: names(&[SpanLook::InChains, SpanLook::Silent, SpanLook::HeldBack]),
        silent: names(&[SpanLook::Silent]),
        held_back: names(&[SpanLook::HeldBack]),
        remark: key.shown.remark.or_else(|| {
            let runs_tasks = key.kind == TaskKind::BlockOn && chains.is_empty();
            runs_tasks.then_some(remarks::RUNS_TASKS)
        }),
        unresolved: key.shown.unresolved,
        chains: looks,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{End, Reply, Stacks, Strings, Task, TaskState, Thread, WakerState};

    use super::*;
    use crate::{
        dump::fixtures::{receive, task},
        frames::fixtures::frames,
    };

    /// Stacks 0 and 1 look alike but have different numbers.
    const STACKS: [&str; 4] = ["recv serve", "recv serve", "sleep tick", "sleep serve"];

    fn dump(tasks: Vec<Task>, threads: Vec<Thread>) -> Dump {
        let names = ["conn", "tick"].map(str::to_owned);
        receive(vec![
            Reply::Strings(Strings(names.to_vec())),
            Reply::Stacks(Stacks(vec![vec![1], vec![2], vec![3], vec![4]])),
            Reply::Tasks(tasks),
            Reply::Threads(threads),
            Reply::End(End { gaps: Vec::new() }),
        ])
        .unwrap()
    }

    fn ids(dump: &Dump, selection: &Selection, grouping: Grouping) -> Vec<Vec<u64>> {
        let groups = group_tasks(dump, &frames(&STACKS), selection, grouping);
        let ids = groups.iter().map(|group| {
            group
                .tasks
                .iter()
                .map(|task| task.tracked().unwrap().id)
                .collect()
        });
        ids.collect()
    }

    #[test]
    fn tasks_that_look_alike_are_one_group_and_the_largest_is_first() {
        let dump = dump(
            vec![
                task(1, 2, &[2]),
                task(2, 1, &[0]),
                task(3, 1, &[1]),
                task(4, 1, &[0]),
            ],
            vec![],
        );
        let everything = Selection::default();
        assert_eq!(
            ids(&dump, &everything, Grouping::Equal),
            [vec![2, 3, 4], vec![1]]
        );
        // Each on its own, oldest first.
        assert_eq!(
            ids(&dump, &everything, Grouping::Each),
            [[4], [3], [2], [1]]
        );
        let groups = group_tasks(&dump, &frames(&STACKS), &everything, Grouping::Equal);
        assert_eq!(
            groups.first().unwrap().ages(),
            Some((Duration::from_secs(2), Duration::from_secs(4)))
        );
    }

    #[test]
    fn what_differs_keeps_tasks_apart() {
        let base = || task(1, 1, &[0]);
        let since_ns = 1;
        for other in [
            task(2, 2, &[0]),
            task(2, 1, &[2]),
            task(2, 1, &[0, 2]),
            task(2, 1, &[]),
            Task {
                waker: WakerState::None,
                ..task(2, 1, &[0])
            },
            Task {
                state: TaskState::Starved { since_ns },
                ..task(2, 1, &[0])
            },
            Task {
                kind: TaskKind::Blocking,
                ..task(2, 1, &[0])
            },
        ] {
            let dump = dump(vec![base(), other], vec![]);
            assert_eq!(ids(&dump, &Selection::default(), Grouping::Equal).len(), 2);
        }
    }

    #[test]
    fn what_is_held_back_is_told_of_tasks_and_of_spans_inside() {
        let held_back = |task: Task| Task {
            state: TaskState::HeldBack {
                since_ns: task.state.since_ns(),
            },
            ..task
        };
        let span = Task {
            parent: 1,
            kind: TaskKind::Span,
            ..held_back(task(2, 2, &[]))
        };
        let dump = dump(
            vec![task(1, 1, &[0]), span, held_back(task(3, 2, &[]))],
            Vec::new(),
        );
        let everything = Selection::default();
        let groups = group_tasks(&dump, &frames(&STACKS), &everything, Grouping::Equal);
        let looks: Vec<_> = groups.iter().map(|group| &group.look).collect();
        let [held_back, around] = looks[..] else {
            panic!("{looks:?}");
        };
        assert_eq!(
            (held_back.state, around.state),
            (State::HeldBack, State::Waiting)
        );
        assert_eq!(around.held_back, ["tick"]);
        assert!(around.silent.is_empty());
    }

    #[test]
    fn a_wait_that_registered_twice_is_one_branch() {
        let dump = dump(vec![task(1, 1, &[0, 1, 3])], vec![]);
        let groups = group_tasks(
            &dump,
            &frames(&STACKS),
            &Selection::default(),
            Grouping::Equal,
        );
        assert_eq!(groups.first().unwrap().chains.len(), 2);
    }

    #[test]
    fn selections_go_by_name_function_file_age_and_number() {
        let dump = dump(vec![task(1, 2, &[2]), task(2, 1, &[0])], vec![]);
        for (filter, left) in [("^conn$", 2), ("recv", 2), ("tick.rs", 1), ("sleep|x", 1)] {
            let selection = Selection {
                filter: Some(filter.parse().unwrap()),
                ..Selection::default()
            };
            assert_eq!(
                ids(&dump, &selection, Grouping::Equal),
                [[left]],
                "{filter}"
            );
        }
        let selection = Selection {
            min_age: Some(Duration::from_millis(1500)),
            ..Selection::default()
        };
        assert_eq!(ids(&dump, &selection, Grouping::Equal), [[2]]);
        let selection = Selection {
            tasks: Some([1, 7].map(TaskKey::Tracked).into()),
            ..Selection::default()
        };
        assert_eq!(ids(&dump, &selection, Grouping::Equal), [[1]]);
    }

    #[test]
    fn a_hundred_thousand_tasks_are_few_groups() {
        let tasks = (1..=100_000).map(|id| task(id, 1, &[u32::from(id % 2 == 0)]));
        let dump = dump(tasks.collect(), vec![]);
        let groups = ids(&dump, &Selection::default(), Grouping::Equal);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [100_000]);
    }
}
