//! Finding cells, and telling them from what only looks like one.

use crate::{
    canary::{COUNT, Canary},
    layout::{
        self, ALIGNMENT, COMPLETE, FUNCTIONS, LARGEST_CELL, Learned, OWNER, POLL, REFERENCES,
        STATE, TRAILER, VTABLE, WORDS, wakers,
    },
};

use super::memory::Memory;

/// What a vtable says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Vtable {
    pub(super) poll: usize,
    pub(super) trailer: usize,
    pub(super) id: usize,
}

/// A cell, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) header: usize,
    pub(super) id: usize,
    pub(super) state: usize,
    pub(super) vtable: usize,
    pub(super) owner: usize,
    pub(super) says: Vtable,
}

/// The vtables that were looked at, by a part of their address.
pub(super) struct Cache<'a>(pub(super) &'a mut [u64]);

/// How many words of a future or closure are searched for marks.
const MARKED: usize = 4096;
/// The words that an entry takes: the address, and what [`Vtable`] has.
const ENTRY: usize = 4;
pub(super) const CACHE_BYTES: usize = 1 << 17;

impl Cache<'_> {
    fn get(&mut self, vtable: usize, find: impl FnOnce() -> Option<Vtable>) -> Option<Vtable> {
        let entries = self.0.len() / ENTRY;
        let start = (vtable >> 3) % entries.max(1) * ENTRY;
        let Some([address, poll, trailer, id]) = self.0.get_mut(start..start + ENTRY) else {
            return find();
        };
        if *address != vtable as u64 {
            let found = find();
            *address = vtable as u64;
            *poll = found.map_or(0, |found| found.poll as u64);
            *trailer = found.map_or(0, |found| found.trailer as u64);
            *id = found.map_or(0, |found| found.id as u64);
        }
        (*poll != 0).then_some(Vtable {
            poll: *poll as usize,
            trailer: *trailer as usize,
            id: *id as usize,
        })
    }
}

/// Learns from the canaries, or says which of [`crate::record::REASONS`] there is against it.
pub(super) fn learn(memory: Memory<'_>, canaries: &[Canary; COUNT]) -> Result<Learned, usize> {
    let [first, ..] = canaries;
    let vtable = memory.word(first.header + VTABLE).ok_or(0_usize)?;
    if !memory.is_constant(vtable, WORDS) {
        return Err(1);
    }
    let mut learned = Learned::default();
    let (mut largest, mut has_id) = (0, false);
    for position in 0..WORDS {
        let word = memory.word(vtable + 8 * position).unwrap_or(0);
        if learned.functions.count_ones() < FUNCTIONS as u32 && memory.is_code(word) {
            learned.functions |= 1 << position;
        } else if (1..LARGEST_CELL).contains(&word) && word.is_multiple_of(8) {
            if word > largest {
                largest = word;
                learned.trailer = position;
            }
            if !has_id && memory.word(first.header + word) == Some(first.id as usize) {
                has_id = true;
                learned.id = position;
            }
        } else {
            return Err(2);
        }
    }
    if learned.functions.count_ones() != FUNCTIONS as u32 || learned.functions >> POLL & 1 == 0 {
        return Err(2);
    }
    if !has_id || learned.id == learned.trailer {
        return Err(3);
    }
    let is_canary = |address| canaries.iter().any(|canary| Some(canary.header) == address);
    let has_neighbours = |offset: usize| {
        canaries.iter().any(|canary| {
            let at = canary.header + largest + offset;
            let pair = [memory.word(at), memory.word(at + 8)];
            pair.into_iter().all(is_canary)
        })
    };
    let links = (0..TRAILER)
        .step_by(8)
        .find(|offset| has_neighbours(*offset));
    learned.links = links.ok_or(5_usize)?;
    for canary in canaries {
        let state = memory.word(canary.header + STATE).unwrap_or(0);
        // Their wakers were dropped when they had been noted.
        let is_as_known = layout::is_idle(state) && wakers(state) == 1;
        if !is_as_known || !canary.header.is_multiple_of(ALIGNMENT) {
            return Err(4);
        }
    }
    Ok(learned)
}

/// What to look for, and with what.
pub(super) struct Discovery<'a> {
    pub(super) memory: Memory<'a>,
    pub(super) learned: Learned,
    pub(super) cache: Cache<'a>,
    pub(super) marks: &'a [usize],
}

impl Discovery<'_> {
    fn vtable(&mut self, address: usize) -> Option<Vtable> {
        let (memory, learned) = (self.memory, self.learned);
        if !address.is_multiple_of(8) || address < ALIGNMENT {
            return None;
        }
        self.cache.get(address, || parse(memory, learned, address))
    }

    /// The cell at an address, if there is one.
    pub(super) fn cell(&mut self, header: usize) -> Option<Cell> {
        let memory = self.memory;
        let word = |offset| memory.word(header + offset);
        let vtable = word(VTABLE)?;
        let says = self.vtable(vtable)?;
        let state = word(STATE)?;
        let references = state >> REFERENCES;
        if references == 0 || references > 1 << 32 || state & COMPLETE != 0 {
            return None;
        }
        let cell = Cell {
            header,
            id: word(says.id)?,
            state,
            vtable,
            owner: word(OWNER)?,
            says,
        };
        (cell.id != 0 && self.has_neighbours(&cell)).then_some(cell)
    }

    /// Whether the links to the neighbours in the list of the owner lead back.
    fn has_neighbours(&mut self, cell: &Cell) -> bool {
        if cell.owner == 0 {
            // Of a blocking pool: it runs, or is in a queue.
            return !layout::is_idle(cell.state);
        }
        let links = self.learned.links;
        let at = cell.header + cell.says.trailer + links;
        for (own, others) in [(0, 8), (8, 0)] {
            let Some(neighbour) = self.memory.word(at + own) else {
                return false;
            };
            if neighbour == 0 {
                continue;
            }
            if !neighbour.is_multiple_of(ALIGNMENT) || !self.memory.is_own(neighbour) {
                return false;
            }
            let says = self
                .memory
                .word(neighbour + VTABLE)
                .and_then(|vtable| self.vtable(vtable));
            let back =
                says.and_then(|says| self.memory.word(neighbour + says.trailer + links + others));
            if back != Some(cell.header) {
                return false;
            }
        }
        true
    }

    /// Whether it is the only one of its owner's list: then the list has to say so.
    pub(super) fn is_alone(&self, cell: &Cell) -> bool {
        let at = cell.header + cell.says.trailer + self.learned.links;
        cell.owner != 0 && self.memory.word(at) == Some(0) && self.memory.word(at + 8) == Some(0)
    }

    /// Whether a future or closure that has not run yet holds one of the marks.
    pub(super) fn holds_mark(&self, cell: &Cell) -> bool {
        /// Before what is counted there are the counts.
        const COUNTS: usize = 16;
        if layout::is_idle(cell.state) || self.marks.is_empty() {
            return false;
        }
        let words = (cell.says.id + 8..cell.says.trailer)
            .step_by(8)
            .take(MARKED);
        let mut words = words.filter_map(|offset| self.memory.word(cell.header + offset));
        words.any(|word| {
            let is_mark = |address: usize| self.marks.binary_search(&address).is_ok();
            is_mark(word) || is_mark(word.wrapping_add(COUNTS))
        })
    }

    /// Where the future is a box of any type: the function that polls what is in it; else 0.
    pub(super) fn boxed_poll(&self, cell: &Cell) -> usize {
        // Behind the number, with or without a word that tells the stage.
        let stage = cell.header + cell.says.id + 8;
        let mut polls = [8, 0].into_iter().filter_map(|offset| {
            let data = self.memory.word(stage + offset)?;
            let vtable = self.memory.word(stage + offset + 8)?;
            let is_box = self.memory.is_own(data) && self.memory.is_constant(vtable, 4);
            let [drop, size, align, poll] =
                [0, 8, 16, 24].map(|word| self.memory.word(vtable + word).unwrap_or(usize::MAX));
            let is_vtable = (drop == 0 || self.memory.is_code(drop))
                && size < LARGEST_CELL
                && align.is_power_of_two()
                && align <= 4096
                && self.memory.is_code(poll);
            (is_box && is_vtable).then_some(poll)
        });
        polls.next().unwrap_or(0)
    }
}

fn parse(memory: Memory<'_>, learned: Learned, address: usize) -> Option<Vtable> {
    if !memory.is_constant(address, WORDS) {
        return None;
    }
    for position in 0..WORDS {
        let word = memory.word(address + 8 * position)?;
        let is_as_known = match learned.functions >> position & 1 {
            1 => memory.is_code(word),
            _ => (1..LARGEST_CELL).contains(&word) && word.is_multiple_of(8),
        };
        if !is_as_known {
            return None;
        }
    }
    let word = |position| memory.word(address + 8 * position);
    let vtable = Vtable {
        poll: word(POLL)?,
        trailer: word(learned.trailer)?,
        id: word(learned.id)?,
    };
    (vtable.id < vtable.trailer).then_some(vtable)
}
