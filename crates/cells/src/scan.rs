//! Makes two passes over all memory that the process writes,
//! for what looks like a cell and for what refers to one.

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
/// Nothing is mapped below this; most words of memory are smaller.
const LOWEST: u64 = 1 << 16;
/// The most wakers of executors inside tasks that are kept.
const MOST_INNER_WAKERS: usize = 1 << 17;
/// The most places of wakers that are kept.
const MOST_SITES: usize = 1 << 20;

/// Memory that looks like a cell by its own words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) header: u64,
    pub(crate) state: State,
    /// The number of the list that owns it; 0 for none.
    pub(crate) owner: u64,
    pub(crate) vtable_address: u64,
    pub(crate) vtable: Vtable,
}

impl Candidate {
    /// Reads the address of the scheduler that its task runs on; `None` if its version of tokio
    /// does not say where that is.
    pub(crate) fn scheduler(&self, image: &impl Image) -> Option<u64> {
        let at = self.header.checked_add(self.vtable.scheduler?)?;
        image.read_u64(at).ok()
    }
}

/// Finds everything that looks like a cell, in address order.
///
/// # Errors
/// If mapped memory can't be read.
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
    // This rejects what allocators leave in freed memory.
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
    /// Pairs of cells with adjacent pointers to them, like the first and the last cell of a list.
    pub(crate) pairs: HashSet<(u64, u64)>,
    /// Cells that something outside the stacks refers to.
    pub(crate) referred: HashSet<u64>,
    /// How often a pointer to a cell is next to the vtable of a waker, by both addresses.
    pub(crate) wakers: HashMap<(u64, u64), u32>,
    /// Everything that looks like a waker, for each order of its words: the address of the vtable,
    /// and the data. The data may be taken for a cell, and yet belong to an executor inside a task.
    all_wakers: [HashSet<(u64, u64)>; 2],
    /// Where something looks like a waker.
    pub(crate) sites: Vec<Site>,
}

/// A place that holds what looks like a waker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// The address of its first word.
    pub(crate) at: u64,
    pub(crate) order: Order,
    /// The address of its vtable.
    pub(crate) vtable: u64,
    pub(crate) data: u64,
}

/// Finds what refers to the cells at these addresses.
///
/// # Errors
/// If mapped memory can't be read.
pub(crate) fn references<I: Image>(
    image: &I,
    places: &Places,
    vtables: &mut Vtables<'_, I>,
    headers: &HashSet<u64>,
) -> Result<References, Unreadable> {
    let low = headers.iter().min().copied().unwrap_or(u64::MAX);
    let high = headers.iter().max().copied().unwrap_or(0);
    let mut found = References::default();
    let (mut before, mut end) = (Word::default(), 0);
    image.for_each_chunk(&mut |start, bytes| {
        let is_stack = places.stacks.contains(start);
        if start != end {
            before = Word::default();
        }
        end = start + bytes.len() as u64;
        for (word, address) in bytes.as_chunks().0.iter().zip((start..).step_by(8)) {
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
            let is_dead = || places.dead.contains(address);
            if before.is_waker && !is_dead() {
                found.add((Order::VtableFirst, address), before, word, places);
            }
            if word.is_waker && !is_dead() {
                found.add((Order::DataFirst, address), word, before, places);
            }
            before = word;
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The order of the two words of a waker. It depends on the
/// compiler, and is the same for all wakers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    VtableFirst,
    DataFirst,
}

impl References {
    fn add(&mut self, at: (Order, u64), vtable: Word, data: Word, places: &Places) {
        let (order, second) = at;
        if is_data(places, data.value) && self.sites.len() < MOST_SITES {
            self.sites.push(Site {
                at: second.wrapping_sub(8),
                order,
                vtable: vtable.value,
                data: data.value,
            });
        }
        if data.is_cell {
            let pair = (data.value, vtable.value);
            *self.wakers.entry(pair).or_default() += 1;
        }
        if !data.is_waker && is_data(places, data.value) {
            self.all_wakers[order as usize].insert((vtable.value, data.value));
        }
    }

    /// Returns those with other vtables, in the order that all wakers have, or in either if
    /// that is unknown. In the wrong order, the word next to a waker would be taken for its
    /// data, and passed to its functions.
    fn others(&self, own: &HashSet<u64>, order: Option<Order>) -> Vec<(u64, u64)> {
        let [first, second] = &self.all_wakers;
        let is_other = |(vtable, _): &&(u64, u64)| !own.contains(vtable);
        let mut others: Vec<(u64, u64)> = match order {
            Some(order) => {
                let all = self.all_wakers[order as usize].iter();
                all.filter(is_other).copied().collect()
            }
            None => first.union(second).filter(is_other).copied().collect(),
        };
        others.sort_unstable();
        others.truncate(MOST_INNER_WAKERS);
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

/// Whether a word may be the data of a waker.
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

/// Returns everything that looks like a waker, except those with the vtables in `own`.
pub(crate) fn inner_wakers<I: Image>(
    references: &References,
    vtables: &mut Vtables<'_, I>,
    own: &HashSet<u64>,
    order: Option<Order>,
) -> Vec<InnerWaker> {
    let others = references.others(own, order).into_iter();
    let others = others.filter_map(|(address, data)| {
        Some(InnerWaker {
            address,
            vtable: vtables.waker(address)?,
            data,
        })
    });
    others.collect()
}
