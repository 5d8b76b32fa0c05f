//! Finds children of containers that have no waker, by their links to children that have one.
//!
//! `FuturesUnordered`, and what is built on it, polls only the children that were woken. A
//! child that waits without a waker can't be woken by one. But it is a node in the
//! container's list, between others whose wakers lead to them.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use rtops_image::Image;

use crate::{places::Places, scan::InnerWaker, words::Words};

/// How far into a node its links are searched for, in bytes.
const REACH: u64 = 2048;
/// How far before a node its reference counts are, and the limit of a count.
const STRONG: u64 = 16;
const WEAK: u64 = 8;
const MOST_REFERENCES: u64 = 1 << 20;
/// How many nodes of a kind the links are learned from.
const MOST_TEACHERS: usize = 8;

/// The offsets in nodes of a kind by which these are recognized.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Shape {
    /// The link to one neighbour.
    next: u64,
    /// The link to the other.
    previous: u64,
    /// The reference to what all nodes of a container share.
    shared: u64,
}

/// Returns wakers for all nodes that the nodes of these wakers lead to, up to `most`.
pub(crate) fn siblings(
    image: &impl Image,
    places: &Places,
    wakers: &[InnerWaker],
    most: usize,
) -> Vec<InnerWaker> {
    let mut nodes = Nodes {
        words: Words::of(image),
        places,
    };
    let mut kinds: HashMap<u64, Vec<&InnerWaker>> = HashMap::new();
    for waker in wakers {
        kinds.entry(waker.address).or_default().push(waker);
    }
    let mut found = Vec::new();
    for wakers in kinds.values() {
        let Some(shape) = nodes.learn(wakers) else {
            continue;
        };
        let Some(first) = wakers.first() else {
            continue;
        };
        let known: HashSet<u64> = wakers.iter().map(|waker| waker.data).collect();
        let left = most.saturating_sub(found.len());
        let others = nodes.follow(shape, &known, left).into_iter();
        found.extend(others.map(|data| InnerWaker { data, ..**first }));
    }
    found
}

struct Nodes<'a, I: Image> {
    words: Words<'a, I>,
    places: &'a Places,
}

impl<I: Image> Nodes<'_, I> {
    /// Returns the shape that most nodes of a kind agree on.
    fn learn(&mut self, wakers: &[&InnerWaker]) -> Option<Shape> {
        let mut votes: HashMap<Shape, usize> = HashMap::new();
        for waker in wakers.iter().take(MOST_TEACHERS) {
            for shape in self.shapes(waker.data) {
                *votes.entry(shape).or_default() += 1;
            }
        }
        // If nodes are at equal distances, a word further on belongs to the next node.
        let best = votes.into_iter().max_by_key(|(shape, votes)| {
            let Shape {
                next,
                previous,
                shared,
            } = *shape;
            let extent = next.max(previous).max(shared);
            (*votes, Reverse((extent, next, previous, shared)))
        });
        best.map(|(shape, _)| shape)
    }

    /// Returns all shapes in which a node is linked to a neighbour.
    fn shapes(&mut self, node: u64) -> Vec<Shape> {
        let offsets = || (0..REACH).step_by(8);
        let mut shapes = Vec::new();
        for next in offsets() {
            let Some(neighbour) = self.words.at(node + next) else {
                break;
            };
            if neighbour == node || !self.is_counted(neighbour) {
                continue;
            }
            let back = offsets().filter(|previous| *previous != next);
            for previous in back {
                if self.words.at(neighbour + previous) != Some(node) {
                    continue;
                }
                let shared = offsets().filter(|shared| ![next, previous].contains(shared));
                for shared in shared {
                    let shape = Shape {
                        next,
                        previous,
                        shared,
                    };
                    if self.share(shape, node, neighbour) {
                        shapes.push(shape);
                    }
                }
            }
        }
        shapes
    }

    /// Whether this is a live object with reference counts.
    fn is_counted(&mut self, node: u64) -> bool {
        if !node.is_multiple_of(8) || !self.places.own.contains(node) {
            return false;
        }
        let counts = [STRONG, WEAK].map(|before| self.words.at(node.wrapping_sub(before)));
        let is_count =
            |count: Option<u64>| count.is_some_and(|n| (1..MOST_REFERENCES).contains(&n));
        counts.into_iter().all(is_count)
    }

    /// Whether two nodes refer to the same counted object at the same offset.
    fn share(&mut self, shape: Shape, node: u64, other: u64) -> bool {
        let own = self.words.at(node + shape.shared);
        let is_same = own.is_some() && own == self.words.at(other + shape.shared);
        // The pointer leads to the counts.
        is_same && own.is_some_and(|shared| self.is_counted(shared.wrapping_add(STRONG)))
    }

    /// Follows the links from these nodes, and returns the other nodes.
    fn follow(&mut self, shape: Shape, known: &HashSet<u64>, most: usize) -> Vec<u64> {
        let mut seen = known.clone();
        let mut open: Vec<u64> = known.iter().copied().collect();
        open.sort_unstable();
        let mut found = Vec::new();
        while let Some(node) = open.pop() {
            for (link, back) in [(shape.next, shape.previous), (shape.previous, shape.next)] {
                let Some(other) = self.words.at(node + link) else {
                    continue;
                };
                let is_one = !seen.contains(&other)
                    && self.is_counted(other)
                    && self.words.at(other + back) == Some(node)
                    && self.share(shape, node, other);
                if is_one && found.len() < most {
                    seen.insert(other);
                    open.push(other);
                    found.push(other);
                }
            }
        }
        found
    }
}
