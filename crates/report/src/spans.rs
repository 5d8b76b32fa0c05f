//! Decides which spans show in the tree of the task around them, and which need their own tree.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{StackId, TaskKind};

use crate::{
    dump::Dump,
    task::{MAX_NESTING, State, Task, TaskKey},
};

/// The spans of a dump and where they show.
#[derive(Debug, Default)]
pub struct Spans<'a> {
    by_key: HashMap<TaskKey, &'a Task>,
    /// Spans whose leaves are also leaves of the task around them.
    inside: HashSet<TaskKey>,
    /// The spans in `inside`, by the task that shows them, in the order in which they were made.
    shown: HashMap<TaskKey, Vec<&'a Task>>,
}

impl<'a> Spans<'a> {
    /// Collects the spans of a dump.
    pub fn of(dump: &'a Dump) -> Self {
        let spans = || dump.tasks.iter().filter(|task| task.kind == TaskKind::Span);
        if spans().next().is_none() {
            return Self::default();
        }
        let mut this = Self {
            by_key: dump.tasks_by_key(),
            ..Self::default()
        };
        let mut known = HashMap::new();
        for span in spans() {
            if let Some(parent) = this.parent(span)
                && shows_in(dump, span, parent, &mut known)
            {
                this.inside.insert(span.key);
            }
        }
        for span in spans() {
            if let Some(shown_by) = this.shown_by(span) {
                this.shown.entry(shown_by).or_default().push(span);
            }
        }
        for shown in this.shown.values_mut() {
            shown.sort_unstable_by_key(|span| span.key);
        }
        this
    }

    /// Whether the task is a span that shows in another's tree.
    pub fn is_inside(&self, task: &Task) -> bool {
        self.inside.contains(&task.key)
    }

    /// Returns the spans that show in the tree of a task.
    pub fn inside(&self, task: TaskKey) -> &[&'a Task] {
        self.shown.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Returns the task in whose tree this one's waits show: another for a nested span, or itself.
    pub fn owner(&self, task: TaskKey) -> TaskKey {
        let span = self.by_key.get(&task).filter(|task| self.is_inside(task));
        span.and_then(|span| self.shown_by(span)).unwrap_or(task)
    }

    /// Returns the spans from the tracked future with number `inside` outwards to
    /// a task, innermost first.
    pub fn around(&self, inside: u64, task: TaskKey) -> Vec<&'a Task> {
        let mut spans = Vec::new();
        let mut next = TaskKey::tracked(inside);
        while spans.len() < MAX_NESTING
            && let Some(key) = next.filter(|key| *key != task)
            && let Some(span) = self.by_key.get(&key)
            && span.kind == TaskKind::Span
        {
            spans.push(*span);
            next = span.parent();
        }
        spans
    }

    /// Returns how many other tracked polls on the same thread enclose the poll of a running task.
    pub fn polls_around(&self, task: &Task, tid: i32) -> usize {
        let mut depth = 0;
        let mut inner = task;
        while depth < MAX_NESTING
            && let Some(around) = self.parent(inner)
            && around.state == (State::Running { tid: Some(tid) })
        {
            depth += 1;
            inner = around;
        }
        depth
    }

    /// Returns the task in whose tree a span shows.
    fn shown_by(&self, span: &Task) -> Option<TaskKey> {
        let mut current = span;
        for _ in 0..MAX_NESTING {
            if !self.is_inside(current) {
                return (current.key != span.key).then_some(current.key);
            }
            current = self.parent(current)?;
        }
        None
    }

    fn parent(&self, task: &Task) -> Option<&'a Task> {
        self.by_key.get(&task.parent()?).copied()
    }
}

/// Whether each leaf of the span is a leaf of its parent. `known` caches pairs of stacks.
fn shows_in(
    dump: &Dump,
    span: &Task,
    parent: &Task,
    known: &mut HashMap<(StackId, StackId), bool>,
) -> bool {
    if matches!(span.state, State::Running { .. }) {
        return parent.state == span.state;
    }
    span.leaves.iter().all(|inner| {
        parent.leaves.iter().any(|outer| {
            *known
                .entry((inner.stack, outer.stack))
                .or_insert_with(|| is_inner_part(dump.stack(inner.stack), dump.stack(outer.stack)))
        })
    })
}

/// Whether `outer` begins with `inner`. Their last common frame, the poll of the
/// span, may differ in its address.
pub fn is_inner_part(inner: &[u64], outer: &[u64]) -> bool {
    let equal = inner.iter().zip(outer).take_while(|(a, b)| a == b).count();
    equal > 0 && equal + 1 >= inner.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{Reply, Stacks, Strings, Task, TaskState};

    use super::*;
    use crate::dump::fixtures::{end, receive, task};

    fn span(id: u64, parent: u64, name: u32, stacks: &[u32]) -> Task {
        Task {
            parent,
            kind: TaskKind::Span,
            ..task(id, name, stacks)
        }
    }

    fn dump(tasks: Vec<Task>) -> Dump {
        let names = ["one", "two"].map(str::to_owned);
        receive(vec![
            Reply::Strings(Strings(names.to_vec())),
            Reply::Stacks(Stacks(vec![
                vec![1, 2, 3, 4, 5],
                vec![1, 2, 3],
                vec![7, 8, 9],
            ])),
            Reply::Tasks(tasks),
            end(),
        ])
        .unwrap()
    }

    #[test]
    fn a_span_seen_through_its_task_is_a_name_there() {
        let dump = dump(vec![
            task(1, 0, &[0]),
            span(2, 1, 1, &[1]),
            span(3, 2, 2, &[1]),
        ]);
        let spans = Spans::of(&dump);
        assert!(dump.tasks.iter().skip(1).all(|span| spans.is_inside(span)));
        let names = spans.inside(TaskKey::Tracked(1)).iter();
        let names = names.map(|span| span.name().0);
        assert_eq!(names.collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_span_with_a_wait_of_its_own_stands_alone() {
        let dump = dump(vec![task(1, 0, &[0]), span(2, 1, 1, &[1, 2])]);
        let spans = Spans::of(&dump);
        assert!(!spans.is_inside(dump.tasks.last().unwrap()));
        assert!(spans.inside(TaskKey::Tracked(1)).is_empty());
    }

    #[test]
    fn spans_without_their_task_stand_alone() {
        let dump = dump(vec![span(2, 77, 1, &[1])]);
        assert!(!Spans::of(&dump).is_inside(dump.tasks.first().unwrap()));
    }

    #[test]
    fn a_ring_of_parents_ends() {
        let running = |id, parent| Task {
            state: TaskState::Running {
                since_ns: 1,
                tid: 9,
            },
            ..span(id, parent, 1, &[])
        };
        let dump = dump(vec![running(1, 2), running(2, 1)]);
        let spans = Spans::of(&dump);
        assert!(spans.inside(TaskKey::Tracked(1)).is_empty());
        assert_eq!(
            spans.polls_around(dump.tasks.first().unwrap(), 9),
            MAX_NESTING
        );
    }
}
