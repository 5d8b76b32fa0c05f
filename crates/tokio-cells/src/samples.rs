//! Which tasks are stepped: a few of each kind, and more of it where those differ.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use rtops_step::Trace;

/// So many of a kind are stepped first: the first, the last, and any other.
const FIRST: usize = 3;
/// So many at most, where they differ.
const MOST: usize = 8;

/// Tasks that look alike from outside.
struct Kind {
    /// Those that were not chosen, in an order without a meaning.
    open: Vec<usize>,
    chosen: usize,
    /// What the instructions come to that ran in those that were stepped.
    looks: HashSet<u64>,
}

/// The kinds, and what is known of them.
pub(crate) struct Samples {
    kinds: Vec<Kind>,
    /// The kind of each task that was chosen.
    chosen: HashMap<usize, usize>,
    /// How many traces were looked at.
    seen: usize,
    hasher: RandomState,
}

impl Samples {
    /// The tasks of each kind by their positions; where nothing is known of a kind, it comes first.
    pub(crate) fn new<T>(kinds: HashMap<(u64, u64, Vec<T>), Vec<usize>>) -> Self {
        let hasher = RandomState::new();
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|((_, _, leaves), tasks)| {
            (
                !leaves.is_empty(),
                std::cmp::Reverse(tasks.len()),
                tasks.first().copied(),
            )
        });
        let kinds = kinds.into_iter().map(|(_, mut tasks)| {
            tasks.sort_unstable();
            let (first, last) = (tasks.first().copied(), tasks.last().copied());
            // Taken from the end.
            tasks.sort_by_key(|task| {
                let is_end = Some(*task) == first || Some(*task) == last;
                (is_end, hasher.hash_one(task))
            });
            Kind {
                open: tasks,
                chosen: 0,
                looks: HashSet::new(),
            }
        });
        Self {
            kinds: kinds.collect(),
            chosen: HashMap::new(),
            seen: 0,
            hasher,
        }
    }

    /// The next tasks to step: none once there is enough of each kind.
    pub(crate) fn next(&mut self, count: usize) -> Vec<usize> {
        let mut next = Vec::new();
        // One of each kind first, then the others that stand for it, then those that tell more.
        for bound in [1, FIRST, MOST] {
            for (number, kind) in self.kinds.iter_mut().enumerate() {
                let differs = kind.looks.len() > 1;
                while kind.chosen < bound && (bound < MOST || differs) && next.len() < count {
                    let Some(task) = kind.open.pop() else { break };
                    kind.chosen += 1;
                    self.chosen.insert(task, number);
                    next.push(task);
                }
            }
        }
        next
    }

    /// Of how many kinds no task was chosen.
    pub(crate) fn untouched(&self) -> usize {
        self.kinds.iter().filter(|kind| kind.chosen == 0).count()
    }

    /// Looks at the traces that have come since the last time.
    pub(crate) fn add(&mut self, traces: &[(usize, Trace)]) {
        for (task, trace) in traces.iter().skip(self.seen) {
            let kind = self
                .chosen
                .get(task)
                .and_then(|kind| self.kinds.get_mut(*kind));
            if let Some(kind) = kind {
                let mut ran: Vec<u64> = trace.visits.iter().map(|visit| visit.ip).collect();
                ran.sort_unstable();
                ran.dedup();
                kind.looks.insert(self.hasher.hash_one(ran));
            }
        }
        self.seen = traces.len();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_step::{End, Step, VisitOrder};

    use super::*;

    fn trace(task: usize, ip: u64) -> (usize, Trace) {
        let step = Step {
            ip,
            sp: 0x1000,
            is_call: false,
        };
        (
            task,
            Trace::from_steps(0, End::Whole, VisitOrder::Last, [step].into_iter()),
        )
    }

    fn samples(tasks: usize) -> Samples {
        Samples::new(HashMap::from([((1, 0, vec![7]), (0..tasks).collect())]))
    }

    #[test]
    fn the_first_the_last_and_another_stand_for_a_kind() {
        let mut samples = samples(1_000);
        let chosen = samples.next(32);
        assert_eq!(chosen.len(), 3);
        assert!(chosen.contains(&0) && chosen.contains(&999));
        let traces: Vec<_> = chosen.iter().map(|task| trace(*task, 5)).collect();
        samples.add(&traces);
        assert_eq!(samples.next(32), []);
    }

    #[test]
    fn where_they_differ_more_are_chosen_up_to_a_bound() {
        let mut samples = samples(1_000);
        let chosen = samples.next(32);
        let traces: Vec<_> = chosen
            .iter()
            .map(|task| trace(*task, *task as u64))
            .collect();
        samples.add(&traces);
        let more = samples.next(100);
        assert_eq!(more.len(), MOST - 3);
        assert!(more.iter().all(|task| !chosen.contains(task)));
        assert_eq!(samples.next(100), []);
    }

    #[test]
    fn kinds_of_which_nothing_is_known_come_first() {
        let kinds = HashMap::from([
            ((1, 0, vec![7]), (0..50).collect()),
            ((2, 0, vec![]), vec![90]),
        ]);
        assert_eq!(Samples::new(kinds).next(1), [90]);
    }
}
