//! Stores each distinct stack once: a dump of 100,000 tasks has few distinct stacks.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use rtops_protocol::StackId;

/// Distinct stacks in one flat vector.
///
/// Contains at most as many addresses as [`StackTable::new`] was told, so that a target with a
/// million different stacks costs a bounded amount of memory.
#[derive(Debug)]
pub(crate) struct StackTable {
    addresses: Vec<u64>,
    stacks: Vec<Entry>,
    newest_by_hash: HashMap<u64, StackId>,
    hasher: RandomState,
    max_addresses: usize,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    end: usize,
    /// The stack before this one with the same hash.
    same_hash: Option<StackId>,
}

impl StackTable {
    /// Creates an empty table for up to `max_addresses` addresses and as many stacks.
    /// Allocates nothing yet.
    pub(crate) fn new(max_addresses: usize) -> Self {
        Self {
            addresses: Vec::new(),
            stacks: Vec::new(),
            newest_by_hash: HashMap::new(),
            hasher: RandomState::new(),
            max_addresses,
        }
    }

    /// Returns the id of `stack`, which is stored if it is new; `None` if it is new
    /// and the table is full.
    pub(crate) fn intern(&mut self, stack: &[u64]) -> Option<StackId> {
        self.intern_hashed(self.hasher.hash_one(stack), stack)
    }

    fn intern_hashed(&mut self, hash: u64, stack: &[u64]) -> Option<StackId> {
        let newest = self.newest_by_hash.get(&hash).copied();
        let mut candidate = newest;
        while let Some(id) = candidate {
            if self.get(id) == Some(stack) {
                return Some(id);
            }
            candidate = self.entry(id).and_then(|entry| entry.same_hash);
        }
        if self.stacks.len() >= self.max_addresses
            || stack.len() > self.max_addresses - self.addresses.len()
        {
            return None;
        }
        let id = StackId(u32::try_from(self.stacks.len()).ok()?);
        let start = self.addresses.len();
        self.addresses.extend_from_slice(stack);
        self.stacks.push(Entry {
            start,
            end: self.addresses.len(),
            same_hash: newest,
        });
        self.newest_by_hash.insert(hash, id);
        Some(id)
    }

    /// Returns the addresses of a stack; `None` for an id of another table.
    pub(crate) fn get(&self, id: StackId) -> Option<&[u64]> {
        self.entry(id)
            .and_then(|entry| self.addresses.get(entry.start..entry.end))
    }

    /// Returns the stacks in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u64]> {
        let entries = self.stacks.iter();
        entries.filter_map(|entry| self.addresses.get(entry.start..entry.end))
    }

    fn entry(&self, id: StackId) -> Option<&Entry> {
        self.stacks.get(usize::try_from(id.0).ok()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn equal_stacks_share_an_id_and_different_ones_do_not() {
        let mut table = StackTable::new(100);
        let a = table.intern(&[1, 2, 3]).unwrap();
        let b = table.intern(&[1, 2]).unwrap();
        let empty = table.intern(&[]).unwrap();
        assert_eq!(table.intern(&[1, 2, 3]), Some(a));
        assert_eq!(table.intern(&[]), Some(empty));
        assert_ne!(a, b);
        assert_eq!(table.get(a), Some(&[1, 2, 3][..]));
        assert_eq!(table.get(b), Some(&[1, 2][..]));
        assert_eq!(table.iter().count(), 3);
        assert_eq!(table.get(StackId(3)), None);
    }

    #[test]
    fn stacks_with_the_same_hash_stay_apart() {
        let mut table = StackTable::new(100);
        let ids = [[1, 2], [3, 4], [5, 6]].map(|stack| table.intern_hashed(7, &stack).unwrap());
        assert_eq!(table.iter().count(), 3);
        for (id, stack) in ids.into_iter().zip([[1, 2], [3, 4], [5, 6]]) {
            assert_eq!(table.intern_hashed(7, &stack), Some(id));
            assert_eq!(table.get(id), Some(&stack[..]));
        }
    }

    #[test]
    fn a_full_table_still_knows_what_it_has() {
        let mut table = StackTable::new(3);
        let a = table.intern(&[1, 2]).unwrap();
        assert_eq!(table.intern(&[3, 4]), None);
        assert_eq!(table.intern(&[1, 2]), Some(a));
        assert!(table.intern(&[3]).is_some());
        assert_eq!(table.iter().count(), 2);
    }
}
