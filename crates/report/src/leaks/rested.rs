//! What a watch shows about tasks of unknown age: which ones were at the same place in every look.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use super::sample::{Identity, Kin, Place, Sample};
use crate::task::Task;

/// With fewer looks, neither staying nor a gain is evidence.
pub(super) const LEAST_LOOKS: usize = 3;

/// What tasks did across the looks of a watch.
#[derive(Debug, Default)]
pub(super) struct Rested {
    /// The number of looks.
    pub(super) looks: usize,
    /// Tasks that were at one place in all looks.
    stayed: HashMap<Identity, Place>,
    /// Tasks that ran or were about to run in some look, and where they waited in
    /// the others, if anywhere.
    restless: HashMap<Identity, Option<Place>>,
    /// Places that a task left.
    left: HashSet<Place>,
    /// Kinds of task of which one has ended.
    ended: HashSet<Kin>,
}

impl Rested {
    /// Compares looks, oldest first. With too few looks, or looks without untracked
    /// tasks, nothing is concluded.
    pub(super) fn of(samples: &[&Sample]) -> Self {
        let all_have = samples.iter().all(|sample| sample.has_untracked);
        let Some(first) = samples.first() else {
            return Self::default();
        };
        if samples.len() < LEAST_LOOKS || !all_have {
            return Self::default();
        }
        let is_known =
            |(task, _): &(&Identity, &Option<Place>)| !matches!(task, Identity::Tracked(_));
        let tasks = || first.tasks.iter().filter(is_known);
        let mut this = Self {
            looks: samples.len(),
            ..Self::default()
        };
        for (task, _) in tasks() {
            let places = samples.iter().map(|sample| sample.tasks.get(task).copied());
            let Some(places) = places.collect::<Option<HashSet<Option<Place>>>>() else {
                continue;
            };
            let mut rests = places.iter().copied().flatten();
            match (rests.next(), rests.next()) {
                (_, Some(_)) => {}
                (Some(there), None) if !places.contains(&None) => {
                    this.stayed.insert(*task, there);
                }
                (rest, None) => drop(this.restless.insert(*task, rest)),
            }
        }
        for pair in samples.windows(2) {
            if let [before, after] = pair {
                this.left.extend(left(&before.tasks, &after.tasks));
                let ended = before
                    .kin
                    .iter()
                    .filter(|(task, _)| !after.kin.contains_key(task));
                this.ended.extend(ended.map(|(_, kin)| *kin));
            }
        }
        this
    }

    /// Whether a task has stayed at a place that no task left.
    pub(super) fn is_in_still_queue(&self, task: &Task) -> bool {
        self.stays_at(task)
            .is_some_and(|place| !self.left.contains(&place))
    }

    /// Whether a task has stayed while others of its kind ended.
    pub(super) fn is_left_behind(&self, task: &Task) -> bool {
        let kin = Kin::of(task);
        self.stays_at(task).is_some() && kin.is_some_and(|kin| self.ended.contains(&kin))
    }

    /// Whether a task ran or was about to run in every look.
    pub(super) fn is_restless(&self, task: &Task) -> bool {
        self.rest_of(task) == Some(None)
    }

    /// Whether a task that is at this place now was nowhere else in any look, unless
    /// it ran or was about to run.
    pub(super) fn is_always_at(&self, task: &Task, place: Place) -> bool {
        let rest = self.rest_of(task).map(|rest| rest.unwrap_or(place));
        rest.or_else(|| self.stays_at(task)) == Some(place)
    }

    fn rest_of(&self, task: &Task) -> Option<Option<Place>> {
        self.restless.get(&Identity::of(task)?).copied()
    }

    fn stays_at(&self, task: &Task) -> Option<Place> {
        self.stayed.get(&Identity::of(task)?).copied()
    }
}

/// Returns the places that something left between two looks.
fn left<'s, K: Eq + Hash>(
    before: &'s HashMap<K, Option<Place>>,
    after: &'s HashMap<K, Option<Place>>,
) -> impl Iterator<Item = Place> + 's {
    let left = before
        .iter()
        .filter(|(task, place)| after.get(task) != Some(place));
    left.filter_map(|(_, place)| *place)
}
