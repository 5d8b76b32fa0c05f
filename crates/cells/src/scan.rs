//! Two passes over all memory that the process writes: what looks like a cell, and what refers to one.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use rtops_image::{Image, Unreadable};

use crate::{
    layout::{LARGEST_NUMBER, STATE, State},
    places::Places,
    vtable::{Vtable, Vtables, WakerVtable},
    words::Words,
};

/// More tasks than any process has.
const MOST_CANDIDATES: usize = 8 << 20;
/// Nothing is mapped below; most words are smaller.
const LOWEST: u64 = 1 << 16;
/// The most wakers of executors inside of tasks that are kept.
const MOST_INNER_WAKERS: usize = 1 << 17;

/// What looks like a cell by its own words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) header: u64,
    pub(crate) state: State,
    /// The number of the list that owns it, 0 for none.
    pub(crate) owner: u64,
    pub(crate) vtable_address: u64,
    pub(crate) vtable: Vtable,
}

/// All that looks like a cell, in the order of the addresses.
///
/// # Errors
/// When memory that is there can't be read.
pub(crate) fn candidates<I: Image>(
    image: &I,
    places: &Places,
    vtables: &mut Vtables<'_, I>,
) -> Result<Vec<Candidate>, Unreadable> {
    let mut words = Words::of(image);
    let mut found = Vec::new();
    image.for_each_chunk(&mut |start, bytes| {
        for (word, address) in bytes.as_chunks().0.iter().zip((start..).step_by(8)) {
            let word = u64::from_le_bytes(*word);
            if word >= LOWEST
                && let Some(vtable) = vtables.task(word)
                && let Some(header) = address.checked_sub(vtable.layout.vtable)
                && let Some(candidate) = candidate(&mut words, header, word, vtable)
                && !places.stacks.contains(header)
            {
                found.push(candidate);
            }
        }
        if found.len() < MOST_CANDIDATES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(found)
}

fn candidate(
    words: &mut Words<'_, impl Image>,
    header: u64,
    vtable_address: u64,
    vtable: Vtable,
) -> Option<Candidate> {
    let state = State(words.at(header + STATE)?);
    let owner = words.at(header + vtable.layout.owner)?;
    // What allocators leave in freed memory is no header.
    let next = words.at(header + vtable.layout.queue_next)?;
    let is_one = state.is_possible() && owner < LARGEST_NUMBER && next.is_multiple_of(8);
    is_one.then_some(Candidate {
        header,
        state,
        owner,
        vtable_address,
        vtable,
    })
}

/// What refers to cells.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Cells that stand side by side: what a list begins and what it ends with.
    pub(crate) pairs: HashSet<(u64, u64)>,
    /// Cells that something refers to which is neither a cell nor a stack.
    pub(crate) referred: HashSet<u64>,
    /// How often a cell stands beside the vtable of a waker, by both addresses.
    pub(crate) wakers: HashMap<(u64, u64), u32>,
    /// Wakers that lead elsewhere: the address of the vtable and the data.
    pub(crate) others: Vec<(u64, u64)>,
}

/// Looks for what refers to the cells at these addresses.
///
/// # Errors
/// When memory that is there can't be read.
pub(crate) fn references<I: Image>(
    image: &I,
    places: &Places,
    vtables: &mut Vtables<'_, I>,
    headers: &HashSet<u64>,
) -> Result<References, Unreadable> {
    let low = headers.iter().min().copied().unwrap_or(u64::MAX);
    let high = headers.iter().max().copied().unwrap_or(0);
    let mut found = References::default();
    let mut wakers = Wakers::default();
    let (mut before, mut end) = (Word::default(), 0);
    image.for_each_chunk(&mut |start, bytes| {
        let is_stack = places.stacks.contains(start);
        if start != end {
            before = Word::default();
        }
        end = start + bytes.len() as u64;
        for word in bytes.as_chunks().0 {
            let value = u64::from_le_bytes(*word);
            if value < LOWEST {
                before = Word::default();
                continue;
            }
            let word = Word {
                value,
                is_cell: (low..=high).contains(&value) && headers.contains(&value),
                is_waker: vtables.waker(value).is_some(),
            };
            if word.is_cell && !is_stack {
                found.referred.insert(value);
            }
            if before.is_cell && word.is_cell {
                found.pairs.insert((before.value, value));
            }
            if before.is_waker {
                wakers.add(Order::VtableFirst, before, word, places);
            }
            if word.is_waker {
                wakers.add(Order::DataFirst, word, before, places);
            }
            before = word;
        }
        ControlFlow::Continue(())
    })?;
    found.others = wakers.others();
    found.wakers = wakers.of_cells;
    Ok(found)
}

/// In which order the two words of a waker are: each compiler has its own, and one for all wakers.
#[derive(Clone, Copy)]
enum Order {
    VtableFirst,
    DataFirst,
}

/// What looks like wakers.
#[derive(Default)]
struct Wakers {
    /// How often a cell stands beside the vtable of a waker, by both addresses.
    of_cells: HashMap<(u64, u64), u32>,
    /// In how many of these the vtable comes first, and in how many it does not.
    votes: [usize; 2],
    /// What leads elsewhere: the address of the vtable and the data, in each order.
    others: [HashSet<(u64, u64)>; 2],
}

impl Wakers {
    fn add(&mut self, order: Order, vtable: Word, data: Word, places: &Places) {
        let place = order as usize;
        if data.is_cell {
            let pair = (data.value, vtable.value);
            *self.of_cells.entry(pair).or_default() += 1;
            self.votes[place] += 1;
        } else if !data.is_waker && is_data(places, data.value) {
            self.others[place].insert((vtable.value, data.value));
        }
    }

    /// What leads elsewhere, in the order of those that lead to cells: in the other one, what stands beside
    /// a waker would be taken for its data, and called.
    fn others(&mut self) -> Vec<(u64, u64)> {
        let [mut first, second] = std::mem::take(&mut self.others);
        let others = match self.votes {
            [a, b] if a > b => first,
            [a, b] if a < b => second,
            _ => {
                first.extend(second);
                first
            }
        };
        let mut others: Vec<(u64, u64)> = others.into_iter().take(MOST_INNER_WAKERS).collect();
        others.sort_unstable();
        others
    }
}

/// A word of memory, and what it may lead to.
#[derive(Clone, Copy, Default)]
struct Word {
    value: u64,
    is_cell: bool,
    is_waker: bool,
}

/// Whether this may be what a waker leads to.
fn is_data(places: &Places, word: u64) -> bool {
    word != 0 && word.is_multiple_of(8) && places.own.contains(word)
}

/// What looks like a waker and is not tokio's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerWaker {
    pub(crate) address: u64,
    pub(crate) vtable: WakerVtable,
    pub(crate) data: u64,
}

/// All that look like wakers, but for those with these vtables.
pub(crate) fn inner_wakers<I: Image>(
    references: &References,
    vtables: &mut Vtables<'_, I>,
    own: &HashSet<u64>,
) -> Vec<InnerWaker> {
    let others = references.others.iter();
    let others = others.filter(|(address, _)| !own.contains(address));
    let others = others.filter_map(|(address, data)| {
        Some(InnerWaker {
            address: *address,
            vtable: vtables.waker(*address)?,
            data: *data,
        })
    });
    others.collect()
}
