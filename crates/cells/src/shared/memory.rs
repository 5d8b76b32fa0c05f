//! Reads from memory who has what: allocations, reference
//! counts, and the way from a future to its boxes.

use std::{collections::HashSet, ops::Range};

use rtops_image::Image;

use crate::{
    discover::Cell,
    inventory,
    places::Places,
    vtable,
    words::{Words, byte},
};

/// Nothing is mapped below this; most words of memory are smaller.
const LOWEST: u64 = 1 << 16;
/// No program has memory above this, so that offsets from an address can't overflow.
pub(super) const HIGHEST: u64 = 1 << 56;
/// More references than anything has.
const MOST_REFERENCES: u64 = 1 << 20;
/// The smallest and largest size that an allocation is taken to have, in bytes.
const SMALLEST: u64 = 32;
const LARGEST: u64 = 1 << 20;
/// How much is read of a box of unknown size, and at most of one of known size, in bytes.
const UNKNOWN: u64 = 128;
const MOST_OF_A_BOX: u64 = 1 << 14;
/// The most words of a future and its boxes that are looked at, and the most boxes.
const MOST_WORDS: usize = 1 << 14;
const MOST_BOXES: usize = 256;
/// The most words that are looked at for all tasks together.
const MOST_STEPS: usize = 1 << 26;
/// How many levels of nested boxes are followed.
const DEPTH: u32 = 3;
/// How far past the start of its trailer a cell extends, in bytes.
const TRAILER: u64 = 64;
/// The largest `Arc` that is searched for a place, in bytes.
const LARGEST_ARC: u64 = 4096;
/// The smallest offset of the content of an `Arc`, after its counts.
pub(super) const COUNTS: u64 = 16;

pub(super) struct Memory<'a, I: Image> {
    pub(super) words: Words<'a, I>,
    pub(super) places: &'a Places,
    /// In the order of their addresses.
    pub(super) cells: &'a [Cell],
    /// How many more words may be looked at.
    left: usize,
}

impl<'a, I: Image> Memory<'a, I> {
    pub(super) fn of(image: &'a I, places: &'a Places, cells: &'a [Cell]) -> Self {
        Self {
            words: Words::of(image),
            places,
            cells,
            left: MOST_STEPS,
        }
    }

    /// Whether this many more words may be looked at; damaged or
    /// hostile memory may lead to any number.
    pub(super) fn allows(&mut self, words: usize) -> bool {
        let left = self.left.checked_sub(words);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether something in the process's own memory may begin there.
    pub(super) fn is_own(&self, address: u64) -> bool {
        let is_one = (LOWEST..HIGHEST).contains(&address) && address.is_multiple_of(8);
        is_one && self.places.own.contains(address)
    }

    pub(super) fn byte(&mut self, address: u64) -> Option<u8> {
        byte(self.words.at(address & !7)?, address)
    }

    /// Whether the cell of a task begins there.
    pub(super) fn is_task(&self, address: u64) -> bool {
        let header = |cell: &Cell| cell.candidate.header;
        self.cells.binary_search_by_key(&address, header).is_ok()
    }

    /// Returns the task whose cell contains an address.
    pub(super) fn task_at(&self, address: u64) -> Option<&Cell> {
        let behind = self
            .cells
            .partition_point(|cell| cell.candidate.header <= address);
        let cell = self.cells.get(behind.checked_sub(1)?)?;
        let trailer = cell.candidate.vtable.trailer?;
        (address - cell.candidate.header < trailer + TRAILER).then_some(cell)
    }

    /// Returns the number of references to what follows the counts
    /// at this address, if these are counts.
    pub(super) fn counted(&mut self, address: u64) -> Option<u64> {
        if !self.is_own(address) {
            return None;
        }
        let strong = self.words.at(address)?;
        let weak = self.words.at(address + 8)?;
        let is_count = |count| (1..MOST_REFERENCES).contains(&count);
        (is_count(strong) && is_count(weak)).then_some(strong)
    }

    /// Returns the end of the allocation that begins here, as far
    /// as the C library's allocator shows it.
    pub(super) fn end_of(&mut self, address: u64) -> Option<u64> {
        const IN_USE: u64 = 1;
        const FLAGS: u64 = 7;
        if !address.is_multiple_of(16) {
            return None;
        }
        let size = self.words.at(address.checked_sub(8)?)? & !FLAGS;
        if !(SMALLEST..LARGEST).contains(&size) || !size.is_multiple_of(16) {
            return None;
        }
        let end = address + size - 8;
        let next = self.words.at(end)?;
        let is_next = next & IN_USE != 0 && next & 8 == 0 && next & !FLAGS >= SMALLEST / 2;
        is_next.then_some(end)
    }

    /// Returns the counts of the `Arc` that one of these words leads to and that contains a
    /// place: the nearest ones before it.
    pub(super) fn arc_around(
        &mut self,
        place: Range<u64>,
        words: impl Iterator<Item = u64>,
    ) -> Option<u64> {
        let near = words.filter(|word| {
            let begins = word.saturating_add(COUNTS);
            begins <= place.start && place.start - word <= LARGEST_ARC
        });
        let mut near: Vec<u64> = near.collect();
        near.sort_unstable_by(|one, other| other.cmp(one));
        near.dedup();
        near.into_iter().find(|word| {
            self.counted(*word).is_some() && self.end_of(*word).is_none_or(|end| place.end <= end)
        })
    }

    /// Returns the part of memory that holds a task's future.
    pub(super) fn future(cell: &Cell) -> Range<u64> {
        inventory::future(cell)
    }

    /// Calls `visit` with the words in these parts of memory and, if it is to be thorough, in
    /// the boxes that nothing else leads to.
    pub(super) fn walk(
        &mut self,
        roots: impl IntoIterator<Item = Range<u64>>,
        is_thorough: bool,
        mut visit: impl FnMut(u64),
    ) {
        let mut open: Vec<(Range<u64>, u32)> = roots.into_iter().map(|root| (root, 0)).collect();
        let mut seen: HashSet<u64> = open.iter().map(|(root, _)| root.start).collect();
        let mut left = MOST_WORDS.min(self.left);
        while let Some((part, depth)) = open.pop() {
            for at in part.step_by(8) {
                let Some(word) = self.words.at(at).filter(|_| left > 0) else {
                    break;
                };
                left -= 1;
                if word < LOWEST {
                    continue;
                }
                visit(word);
                let goes_on = is_thorough && depth < DEPTH && seen.len() < MOST_BOXES;
                if goes_on
                    && let Some(boxed) = self.boxed(word, at)
                    && seen.insert(boxed.start)
                {
                    open.push((boxed, depth + 1));
                }
            }
        }
        self.left -= MOST_WORDS.min(self.left) - left;
    }

    /// Returns what a word at some place leads to, if that is a box.
    fn boxed(&mut self, word: u64, at: u64) -> Option<Range<u64>> {
        let is_elsewhere = self.is_own(word)
            && word.is_multiple_of(16)
            && !self.places.stacks.contains(word)
            && self.task_at(word).is_none();
        if !is_elsewhere || self.counted(word).is_some_and(|strong| strong > 1) {
            return None;
        }
        let beside = self.words.at(at.saturating_add(8));
        let object = beside.and_then(|beside| vtable::object(&mut self.words, self.places, beside));
        let length = object
            .map(|object| object.size)
            .or_else(|| Some(self.end_of(word)? - word))
            .unwrap_or(UNKNOWN);
        Some(word..word + length.min(MOST_OF_A_BOX))
    }
}
