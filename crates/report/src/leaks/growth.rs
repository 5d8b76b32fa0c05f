//! Finds the places that gain tasks or threads from dump to dump and never lose one.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use super::sample::Place;

/// Smaller gains are ignored: any service starts a task or two.
const LEAST_GAIN: usize = 3;

/// Returns which groups of places grew, and by how many tasks or threads that were not in the
/// first dump. `groups` maps each place to the number of its group; `samples` say what rests where
/// in each dump, the last one included.
pub fn growth<K: Copy + Eq + Hash>(
    groups: &HashMap<Place, usize>,
    samples: &[&HashMap<K, Option<Place>>],
) -> HashMap<usize, usize> {
    let Some((last, earlier)) = samples.split_last() else {
        return HashMap::new();
    };
    let group_of = |place: &Option<Place>| place.and_then(|place| groups.get(&place)).copied();
    let mut counts: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut lost: HashSet<usize> = HashSet::new();
    for (number, sample) in samples.iter().enumerate() {
        for (key, place) in *sample {
            let Some(group) = group_of(place) else {
                continue;
            };
            let counts = counts
                .entry(group)
                .or_insert_with(|| vec![0; samples.len()]);
            if let Some(count) = counts.get_mut(number) {
                *count += 1;
            }
            match last.get(key) {
                // It is running at the moment and may return to where it was.
                Some(None) => {}
                Some(now) if group_of(now) == Some(group) => {}
                _ => drop(lost.insert(group)),
            }
        }
    }
    let first = earlier.first();
    let mut gained: HashMap<usize, usize> = HashMap::new();
    for (key, place) in *last {
        if let Some(group) = group_of(place)
            && first.is_some_and(|first| !first.contains_key(key))
        {
            *gained.entry(group).or_default() += 1;
        }
    }
    gained.retain(|group, gained| {
        *gained >= LEAST_GAIN
            && !lost.contains(group)
            && counts.get(group).is_some_and(|counts| grows(counts))
    });
    gained
}

/// Whether a count grew in at least half of the steps, and in one of the last two: a count that has
/// settled at a higher level is no leak.
fn grows(counts: &[usize]) -> bool {
    let steps: Vec<bool> = counts
        .windows(2)
        .map(|pair| matches!(pair, [a, b] if a < b))
        .collect();
    let grown = steps.iter().filter(|grew| **grew).count();
    2 * grown >= steps.len() && steps.iter().rev().take(2).any(|grew| *grew)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::sample::tests::place;

    /// Parses dumps written as who is where: `"1a 2a 3-"`, with `-` for one that runs.
    fn growth_of(dumps: &[&str]) -> Option<usize> {
        let samples: Vec<HashMap<u32, Option<Place>>> = dumps
            .iter()
            .map(|dump| {
                let parts = dump.split_whitespace();
                let parts = parts.map(|part| part.split_at(part.len() - 1));
                parts
                    .map(|(key, at)| {
                        let at = at.chars().next().filter(|at| *at != '-');
                        (key.parse().unwrap_or_default(), at.map(place))
                    })
                    .collect()
            })
            .collect();
        let groups = HashMap::from([(place('a'), 0)]);
        growth(&groups, &samples.iter().collect::<Vec<_>>())
            .get(&0)
            .copied()
    }

    #[test]
    fn a_steady_gain_without_a_loss_is_growth() {
        assert_eq!(
            growth_of(&["1a", "1a 2a", "1a 2a 3a", "1a 2a 3a 4a"]),
            Some(3)
        );
        assert_eq!(growth_of(&["", "1a 2a 3a"]), Some(3));
        // One is polled during the look, and another rests elsewhere from the start.
        assert_eq!(growth_of(&["1a", "1a 2a 9b", "1- 2a 3a 4a 9b"]), Some(3));
    }

    #[test]
    fn a_loss_a_plateau_and_a_small_gain_are_not() {
        assert_eq!(growth_of(&["1a 2a", "1a 2a 3a 4a", "1a 3a 4a 5a 6a"]), None);
        assert_eq!(growth_of(&["1a 2a", "1a 2a 3a 4a", "1b 2a 3a 4a 5a"]), None);
        let all = "1a 2a 3a 4a 5a";
        assert_eq!(growth_of(&["1a", "1a 2a 3a", all, all, all]), None);
        assert_eq!(growth_of(&["1a", "1a 2a", "1a 2a 3a"]), None);
        assert_eq!(growth_of(&["1a 2a 3a"]), None);
    }
}
