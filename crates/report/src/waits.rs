//! Who waits for whom: which tasks can still make progress, and which wait in a circle.
//!
//! A task may wait in several places at once, and goes on as soon as one of them lets it. So it is
//! *blocked* only if in every place it is known to wait for tasks that are blocked themselves.
//! Anything unknown counts as able to go on, so what is reported here is never a guess.

mod shared;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use petgraph::{algo::kosaraju_scc, graph::DiGraph};
use rtops_protocol::{
    Claim, ClaimMode, ClaimRole, FoundBy, HandleSeen, Leaf, Resource, ResourceKind, Shared,
    TaskKind, UntrackedLeaf,
};
use rtops_symbols::{FrameClass, WaitReason};

use crate::{
    dump::Dump,
    frames::Frames,
    holders::{Holders, Lock},
    shared::Parties,
    task::{MAX_NESTING, Task, TaskKey},
};

/// If a semaphore or set has more holders than this, none is followed; any of them can end a wait.
const MAX_HOLDERS: usize = 256;
/// Prefixes of functions that wait for a resource of [`Dump::resources`].
const LOCKS: &[&str] = &["rtops_sync::", "rtops_agent::join_set::"];
/// Functions that store a waker for their caller.
const WAKERS: &[&str] = &[
    "__rust_try",
    "tokio::sync::task::atomic_waker::",
    "tokio::util::wake::",
];
/// Functions that poll the tasks of a `LocalSet`.
const LOCAL_SET: &str = "tokio::task::local::";
/// Functions that wait for the handle of a task.
const JOINS: &[&str] = &["tokio::runtime::task::join::", "async_task::task::"];

/// One thing that a task waits for.
#[derive(Clone, Debug)]
pub struct Edge<'a> {
    /// What is waited for.
    pub what: WaitsFor<'a>,
    /// The claims that are in the way.
    others: Vec<&'a Claim>,
    /// The tasks that can end the wait; empty if an unknown party can.
    by: Vec<TaskKey>,
    need: Need,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub enum WaitsFor<'a> {
    /// A resource that others hold, and the waiter's own claim.
    Resource(&'a Resource, &'a Claim),
    /// The end of a task whose handle it awaits.
    Task(&'a Task),
    /// Something that it shares with others in memory, and the wait reason if it is known.
    Shared(&'a Shared, Option<WaitReason>),
}

/// How many of an edge's tasks have to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    Any,
    All,
}

/// The tasks of a dump and what they wait for.
#[derive(Debug)]
pub struct Waits<'a> {
    tasks: HashMap<TaskKey, &'a Task>,
    edges: HashMap<TaskKey, Vec<Edge<'a>>>,
    /// Tasks that have an edge for every place where they wait.
    explained: HashSet<TaskKey>,
    /// What tasks wait for according to memory, and why.
    shared: Vec<(&'a Shared, WaitReason, &'a Task)>,
}

/// A circle of tasks, each of which waits for the next.
#[derive(Debug)]
pub struct Circle<'a> {
    /// In order; the last waits for the first.
    pub steps: Vec<Step<'a>>,
    /// The other tasks that can't go on because they wait for these.
    pub behind: Vec<TaskKey>,
}

/// One task of a circle.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The task.
    pub task: &'a Task,
    /// Why it waits for the next one.
    pub waits_for: WaitsFor<'a>,
    /// The next task's claim that is in the way: it holds the resource, or is ahead in the queue.
    /// `None` if the end of the next task is awaited.
    pub held_by_next: Option<&'a Claim>,
}

impl<'a> Waits<'a> {
    /// Builds the graph of a dump.
    pub fn of(dump: &'a Dump, frames: &Frames, holders: &Holders<'a>) -> Self {
        let mut this = Self {
            tasks: dump.tasks_by_key(),
            edges: HashMap::new(),
            explained: HashSet::new(),
            shared: Vec::new(),
        };
        let parties = Parties::of(dump);
        let shared = this.add_shared(dump, frames, &parties);
        let waiters = dump.claims.iter();
        let waiters: Vec<&Claim> = waiters.filter(|c| c.role == ClaimRole::Waiter).collect();
        for claim in &waiters {
            if let Some(lock) = holders.lock(claim) {
                this.add_claim(claim, lock);
            }
        }
        let joins = this.add_joins(dump, frames, &parties);
        let locked = waiters.iter().filter_map(|claim| this.root_of(claim));
        let locked: HashSet<TaskKey> = locked.collect();
        for task in dump.tasks.iter().filter(|task| is_waiting(task)) {
            // A poll that was given up may wait elsewhere, too.
            if matches!(task.found_by(), Some(FoundBy::Unresolved(_))) {
                continue;
            }
            let is_explained = |leaf: &Leaf| {
                joins.contains(&(task.key, leaf.stack.0))
                    || (locked.contains(&task.key) && waits_in(frames, *leaf, LOCKS).is_some())
                    || (!this.of_task(task.key).is_empty() && drives_tasks(frames, *leaf))
            };
            let is_shared = shared.contains(&task.key);
            if is_shared || (!task.leaves.is_empty() && task.leaves.iter().all(is_explained)) {
                this.explained.insert(task.key);
            }
        }
        this
    }

    /// Returns what a task waits for, as far as known.
    pub fn of_task(&self, task: TaskKey) -> &[Edge<'a>] {
        self.edges.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Returns what tasks wait for according to memory, why, and which tasks do.
    pub fn held(&self) -> Vec<(&'a Shared, WaitReason, Vec<&'a Task>)> {
        let mut held: BTreeMap<u64, (&Shared, WaitReason, Vec<&Task>)> = BTreeMap::new();
        for (shared, reason, task) in &self.shared {
            let known = held.entry(shared.address);
            let (_, _, tasks) = known.or_insert_with(|| (shared, *reason, Vec::new()));
            tasks.push(task);
        }
        let mut held: Vec<_> = held.into_values().collect();
        for (_, _, tasks) in &mut held {
            tasks.sort_unstable_by_key(|task| task.key);
        }
        held
    }

    /// Returns the tasks whose handles a task awaits, as far as known.
    pub fn joined_by(&self, task: TaskKey) -> impl Iterator<Item = &'a Task> {
        self.of_task(task)
            .iter()
            .filter_map(|edge| match edge.what {
                WaitsFor::Task(task) => Some(task),
                WaitsFor::Resource(..) | WaitsFor::Shared(..) => None,
            })
    }

    /// Returns the task with this key.
    pub fn task(&self, key: TaskKey) -> Option<&'a Task> {
        self.tasks.get(&key).copied()
    }

    /// Returns the task that a span is part of, or a task itself; `None` if it has ended.
    pub fn root(&self, key: TaskKey) -> Option<TaskKey> {
        let mut task = self.tasks.get(&key)?;
        for _ in 0..MAX_NESTING {
            if task.kind != TaskKind::Span {
                return Some(task.key);
            }
            task = self.tasks.get(&task.parent()?)?;
        }
        None
    }

    fn root_of(&self, claim: &Claim) -> Option<TaskKey> {
        self.root(TaskKey::tracked(claim.task)?)
    }

    fn add_claim(&mut self, claim: &'a Claim, lock: &Lock<'a>) {
        let Some(root) = self.root_of(claim) else {
            return;
        };
        let (others, need) = in_the_way(lock, claim);
        let known = others.iter().filter_map(|other| self.root_of(other));
        let known: Vec<TaskKey> = known.collect();
        // A lock without a holder was handed to a future that is not polled.
        // Memory shows whose future it is.
        let is_shared = |edge: &Edge| matches!(edge.what, WaitsFor::Shared(..));
        if others.is_empty() && self.of_task(root).iter().any(is_shared) {
            return;
        }
        // A holder that is not a task, or that ended after handing on its guard, may be anywhere.
        let is_open = need == Need::Any && known.len() < others.len();
        let edge = Edge {
            what: WaitsFor::Resource(lock.resource, claim),
            others,
            by: if is_open { Vec::new() } else { known },
            need,
        };
        self.edges.entry(root).or_default().push(edge);
    }

    /// Adds joins found on stacks and in memory. Returns the tasks and stacks that
    /// await the handle of a known task.
    fn add_joins(
        &mut self,
        dump: &'a Dump,
        frames: &Frames,
        parties: &Parties<'a>,
    ) -> HashSet<(TaskKey, u32)> {
        let mut seen: HashMap<(TaskKey, u32), Vec<&HandleSeen>> = HashMap::new();
        for handle in &dump.handles_seen {
            let leaf = (TaskKey::Tracked(handle.task), handle.stack.0);
            seen.entry(leaf).or_default().push(handle);
        }
        let mut joins = self.add_read_joins(dump, parties);
        for task in dump.tasks.iter().filter(|task| is_waiting(task)) {
            for leaf in &task.leaves {
                let Some(handles) = seen.get(&(task.key, leaf.stack.0)) else {
                    continue;
                };
                let Some(join) = waits_in(frames, *leaf, JOINS) else {
                    continue;
                };
                let stack = dump.stack(leaf.stack);
                let entry = stack.iter().position(|address| *address == join);
                let inside = |handle: &&&HandleSeen| {
                    entry.is_some_and(|entry| handle.entry as usize <= entry)
                };
                let mut joined: Vec<u64> =
                    handles.iter().filter(inside).map(|seen| seen.of).collect();
                joined.sort_unstable();
                joined.dedup();
                // If there are several, all but one are left over from something else,
                // and it is unknown which.
                if let [only] = joined.as_slice()
                    && let Some(awaited) = self.task(TaskKey::Tracked(*only))
                    && joins.insert((task.key, leaf.stack.0))
                {
                    self.add_join(task.key, awaited);
                }
            }
        }
        joins
    }

    /// Adds joins of tasks whose memory shows whose handles they await; returns the same.
    fn add_read_joins(&mut self, dump: &'a Dump, parties: &Parties<'a>) -> HashSet<(TaskKey, u32)> {
        let (mut joins, mut unknown) = (HashSet::new(), HashSet::new());
        for task in dump.tasks.iter().filter(|task| is_waiting(task)) {
            let leaves = task.memory().map_or(&[][..], |memory| &memory.leaves);
            for UntrackedLeaf { leaf, awaits, .. } in leaves {
                let place = (task.key, leaf.stack.0);
                if let Some(awaited) = awaits.and_then(|cell| parties.by_cell(cell)) {
                    joins.insert(place);
                    self.add_join(task.key, awaited);
                } else {
                    unknown.insert(place);
                }
            }
        }
        // Several handles may be awaited at one place.
        joins.retain(|place| !unknown.contains(place));
        joins
    }

    fn add_join(&mut self, task: TaskKey, awaited: &'a Task) {
        let edges = self.edges.entry(task).or_default();
        let is_it = |edge: &Edge| matches!(edge.what, WaitsFor::Task(it) if it.key == awaited.key);
        if edges.iter().any(is_it) {
            return;
        }
        edges.push(Edge {
            what: WaitsFor::Task(awaited),
            others: Vec::new(),
            by: vec![awaited.key],
            need: Need::Any,
        });
    }

    /// Returns the tasks that can't go on, whatever the rest of the process does.
    fn blocked(&self) -> HashSet<TaskKey> {
        let mut blocked = self.explained.clone();
        let mut waiters: HashMap<TaskKey, Vec<TaskKey>> = HashMap::new();
        for task in &blocked {
            for by in self.of_task(*task).iter().flat_map(|edge| &edge.by) {
                waiters.entry(*by).or_default().push(*task);
            }
        }
        let mut queue: VecDeque<TaskKey> = blocked.iter().copied().collect();
        while let Some(task) = queue.pop_front() {
            let can_go_on = |edge: &Edge| match edge.need {
                _ if edge.by.is_empty() => true,
                Need::Any => edge.by.iter().any(|by| !blocked.contains(by)),
                Need::All => edge.by.iter().all(|by| !blocked.contains(by)),
            };
            if blocked.contains(&task) && self.of_task(task).iter().any(can_go_on) {
                blocked.remove(&task);
                queue.extend(waiters.get(&task).into_iter().flatten());
            }
        }
        blocked
    }

    /// Returns all circles.
    pub fn circles(&self) -> Vec<Circle<'a>> {
        let blocked = self.blocked();
        if blocked.is_empty() {
            return Vec::new();
        }
        let mut graph = DiGraph::<TaskKey, ()>::new();
        let mut keys: Vec<TaskKey> = blocked.iter().copied().collect();
        keys.sort_unstable();
        let nodes: HashMap<TaskKey, _> = keys
            .iter()
            .map(|key| (*key, graph.add_node(*key)))
            .collect();
        for (key, node) in &nodes {
            let by = self.of_task(*key).iter().flat_map(|edge| &edge.by);
            for other in by.filter_map(|by| nodes.get(by)) {
                graph.update_edge(*node, *other, ());
            }
        }
        let mut circles = Vec::new();
        let mut taken = HashSet::new();
        for component in kosaraju_scc(&graph) {
            let members: HashSet<TaskKey> = component
                .iter()
                .filter_map(|node| graph.node_weight(*node).copied())
                .collect();
            if let Some(steps) = self.circle_in(&members) {
                taken.extend(steps.iter().map(|step| step.task.key));
                circles.push(Circle {
                    steps,
                    behind: Vec::new(),
                });
            }
        }
        self.add_behind(&blocked, &taken, &mut circles);
        circles.sort_by_key(|circle| circle.steps.first().map(|step| step.task.key));
        circles
    }

    /// Returns the shortest circle through the lowest of these tasks, which can
    /// all reach one another.
    fn circle_in(&self, members: &HashSet<TaskKey>) -> Option<Vec<Step<'a>>> {
        let start = *members.iter().min()?;
        let mut came_from: HashMap<TaskKey, TaskKey> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        let last = 'search: loop {
            let task = queue.pop_front()?;
            for by in self.of_task(task).iter().flat_map(|edge| &edge.by) {
                if *by == start {
                    break 'search task;
                }
                if members.contains(by) && !came_from.contains_key(by) {
                    came_from.insert(*by, task);
                    queue.push_back(*by);
                }
            }
        };
        let mut way = vec![last];
        while let Some(before) = way.last().and_then(|task| came_from.get(task)) {
            way.push(*before);
        }
        way.reverse();
        let next = way.iter().cycle().skip(1);
        way.iter()
            .zip(next)
            .map(|(task, next)| self.step(*task, *next))
            .collect()
    }

    fn step(&self, task: TaskKey, next: TaskKey) -> Option<Step<'a>> {
        let edges = self.of_task(task).iter();
        // An agent knows more about a lock than memory shows.
        let is_shared = |edge: &&Edge| matches!(edge.what, WaitsFor::Shared(..));
        let to_next = edges.filter(|edge| edge.by.contains(&next));
        let edge = to_next.min_by_key(is_shared)?;
        let mut others = edge.others.iter().copied();
        let held_by_next = others.find(|other| self.root_of(other) == Some(next));
        Some(Step {
            task: self.task(task)?,
            waits_for: edge.what,
            held_by_next,
        })
    }

    /// Assigns each blocked task that is in no circle to the circle that it waits for.
    fn add_behind(
        &self,
        blocked: &HashSet<TaskKey>,
        taken: &HashSet<TaskKey>,
        circles: &mut [Circle],
    ) {
        let mut waiters: HashMap<TaskKey, Vec<TaskKey>> = HashMap::new();
        for task in blocked.difference(taken) {
            for by in self.of_task(*task).iter().flat_map(|edge| &edge.by) {
                waiters.entry(*by).or_default().push(*task);
            }
        }
        let mut found = HashSet::new();
        for circle in circles {
            let mut queue: Vec<TaskKey> = circle.steps.iter().map(|step| step.task.key).collect();
            while let Some(task) = queue.pop() {
                for waiter in waiters.get(&task).into_iter().flatten() {
                    if found.insert(*waiter) {
                        circle.behind.push(*waiter);
                        queue.push(*waiter);
                    }
                }
            }
            circle.behind.sort_unstable();
        }
    }
}

/// Returns the claims that keep a waiter from what it wants.
fn in_the_way<'a>(lock: &Lock<'a>, claim: &Claim) -> (Vec<&'a Claim>, Need) {
    let writes = |other: &&&Claim| other.mode == ClaimMode::Exclusive;
    match (lock.resource.kind, claim.mode) {
        // A writer waits for every reader.
        (ResourceKind::RwLock, ClaimMode::Exclusive) => (lock.holders.clone(), Need::All),
        // A reader waits for the writer, or for a writer ahead of it in the queue.
        (ResourceKind::RwLock, ClaimMode::Shared) => {
            let mut writers: Vec<&Claim> = lock.holders.iter().filter(writes).copied().collect();
            if writers.is_empty() {
                let queued = lock.waiters.iter().filter(writes);
                let before = queued.filter(|other| other.since_ns >= claim.since_ns);
                writers.extend(before.take(MAX_HOLDERS));
            }
            (writers, Need::All)
        }
        _ if lock.holders.len() > MAX_HOLDERS => (Vec::new(), Need::Any),
        _ => (lock.holders.clone(), Need::Any),
    }
}

fn is_waiting(task: &Task) -> bool {
    task.kind != TaskKind::Span && task.state.is_suspended()
}

/// Returns whether a `LocalSet` registered its own waker there, for its tasks, next to the future that it
/// polls.
fn drives_tasks(frames: &Frames, leaf: Leaf) -> bool {
    let mut names = frames
        .of_links(frames.stack(leaf.stack))
        .map(|frame| (frame.known.class(), frame.name.as_str()))
        .filter(|(class, _)| *class != FrameClass::Std)
        .map(|(_, name)| name)
        .skip_while(|name| WAKERS.iter().any(|start| name.starts_with(start)));
    names.next().is_some_and(|name| name.starts_with(LOCAL_SET))
}

/// Returns the address of a leaf's outermost frame whose function begins with one of these.
fn waits_in(frames: &Frames, leaf: Leaf, functions: &[&str]) -> Option<u64> {
    let links = frames.stack(leaf.stack).iter();
    let mut fits = links.rev().filter(|link| {
        let frame = frames.get(link.frame);
        frame.is_some_and(|frame| functions.iter().any(|start| frame.name.starts_with(start)))
    });
    fits.next().map(|link| link.address)
}

#[cfg(test)]
mod tests;
