//! Finds out whom the wakers in memory lead to.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use rtops_image::{Image, Tid};

use super::{
    Party,
    memory::{COUNTS, HIGHEST, Memory},
};
use crate::{scan::Site, stacks::Stacks};

/// How far into a node of a container the reference to what all
/// its nodes share is searched for, in bytes.
const REACH: u64 = 2048;
/// Where in the shared part the waker of the container's task is, in bytes.
const SHARED: Range<u64> = 16..160;
/// The most containers whose task is searched for.
const MOST_OWNERS: usize = 64;
/// How many containers are inside of each other.
const DEPTH: u32 = 3;

/// The parties that wakers lead to.
pub(super) struct Wakers {
    /// By the addresses of the wakers.
    pub(super) sites: BTreeMap<u64, Party>,
    /// The nodes of containers in the futures of tasks.
    pub(super) nodes: HashMap<Party, Vec<Range<u64>>>,
}

/// The threads inside `block_on` that were resumed, with their positions in the image.
pub(super) type Resumed = [(usize, Tid)];

impl Wakers {
    pub(super) fn of(
        memory: &mut Memory<'_, impl Image>,
        all: &[Site],
        stacks: &Stacks,
        resumed: &Resumed,
    ) -> Self {
        let sites = all.iter().filter(|site| site.at < HIGHEST);
        let by_place: BTreeMap<u64, u64> = sites.map(|site| (site.at, site.data)).collect();
        let mut search = Search {
            memory,
            by_place: &by_place,
            stacks,
            resumed,
            known: HashMap::new(),
            nodes: HashMap::new(),
            owners: HashMap::new(),
        };
        let sites = by_place.iter().filter_map(|(at, data)| {
            let whose = search.whose(*data, 0)?;
            Some((*at, whose))
        });
        let sites = sites.collect();
        Self {
            sites,
            nodes: search.nodes,
        }
    }
}

struct Search<'a, 'm, I: Image> {
    memory: &'a mut Memory<'m, I>,
    by_place: &'a BTreeMap<u64, u64>,
    stacks: &'a Stacks,
    resumed: &'a Resumed,
    known: HashMap<u64, Option<Party>>,
    nodes: HashMap<Party, Vec<Range<u64>>>,
    /// Which task has the container whose nodes refer to this address.
    owners: HashMap<u64, Option<Party>>,
}

impl<I: Image> Search<'_, '_, I> {
    fn whose(&mut self, data: u64, depth: u32) -> Option<Party> {
        if self.memory.is_task(data) {
            return Some(Party::Task { cell: data });
        }
        if let Some(known) = self.known.get(&data) {
            return *known;
        }
        // A waker that leads back to itself is nobody's.
        self.known.insert(data, None);
        let found = self
            .of_a_container(data, depth)
            .or_else(|| self.inside_block_on(data));
        self.known.insert(data, found);
        found
    }

    /// Finds the party that polls a container, from one of its nodes: all nodes refer to a
    /// shared part that has that party's waker.
    fn of_a_container(&mut self, node: u64, depth: u32) -> Option<Party> {
        if depth == DEPTH || !self.memory.is_own(node) {
            return None;
        }
        let begin = node - COUNTS;
        let end = self.memory.end_of(begin);
        let is_bounded = end.is_some();
        let end = end.unwrap_or(u64::MAX).min(node + REACH);
        let mut found = None;
        let mut without = Vec::new();
        for at in (node..end).step_by(8) {
            let shared = self.memory.words.at(at)?;
            if shared == begin || self.memory.counted(shared).is_none() {
                continue;
            }
            without.push(shared);
            let place = shared + SHARED.start..shared + SHARED.end;
            let wakers: Vec<u64> = self.by_place.range(place).map(|(_, data)| *data).collect();
            let others = wakers.into_iter().filter(|data| *data != node);
            for data in others {
                found = self.whose(data, depth + 1).or(found);
            }
            // If the end of a node is unknown, what follows may belong to another one.
            if found.is_some() && !is_bounded {
                break;
            }
        }
        // A container that was woken has used up that waker, and its task may wait for something else.
        let mut without = without.into_iter();
        let found = found.or_else(|| without.find_map(|shared| self.owner(shared)));
        if let Some(party) = found {
            self.nodes.entry(party).or_default().push(begin..end);
        }
        found
    }

    /// Returns the task whose future has a container: next to the address that all nodes share, it has
    /// the address of one of the nodes.
    fn owner(&mut self, shared: u64) -> Option<Party> {
        if let Some(known) = self.owners.get(&shared) {
            return *known;
        }
        let mut found = None;
        if self.owners.len() < MOST_OWNERS {
            for cell in self.memory.cells {
                let future = Memory::<I>::future(cell);
                if self.has_container(future, shared) {
                    found = Some(Party::Task {
                        cell: cell.candidate.header,
                    });
                    break;
                }
            }
        }
        self.owners.insert(shared, found);
        found
    }

    fn has_container(&mut self, future: Range<u64>, shared: u64) -> bool {
        let words = usize::try_from((future.end - future.start) / 8).unwrap_or(usize::MAX);
        if !self.memory.allows(words) {
            return false;
        }
        let mut before = 0;
        for at in future.step_by(8) {
            let word = self.memory.words.at(at).unwrap_or(0);
            let node = match (before == shared, word == shared) {
                (true, _) => word,
                (_, true) => before,
                _ => 0,
            };
            if self.memory.is_own(node) && self.refers_to(node, shared) {
                return true;
            }
            before = word;
        }
        false
    }

    /// Returns whether a node contains the address that its container's nodes share.
    fn refers_to(&mut self, node: u64, shared: u64) -> bool {
        let end = self.memory.end_of(node - COUNTS);
        let end = end.unwrap_or(u64::MAX).min(node + REACH);
        let mut words = (node..end).step_by(8);
        words.any(|at| self.memory.words.at(at) == Some(shared))
    }

    fn inside_block_on(&self, data: u64) -> Option<Party> {
        let mut holders = self.stacks.holders(data).filter_map(|index| {
            let resumed = self.resumed.iter().find(|(at, _)| *at == index)?;
            Some(resumed.1)
        });
        let tid = holders.next()?;
        holders.next().is_none().then_some(Party::BlockOn { tid })
    }
}
