//! What runs in the copy: find the cells, then poll as the outside orders.
//!
//! Nothing here allocates, locks or panics; see [`rtops_snapshot::Copy`].
#![expect(unsafe_code, reason = "words that are sent as bytes")]

mod discover;
mod hook;
mod memory;
mod poll;
mod running;
mod wake;

use rtops_snapshot::Copy;
use rtops_step::Stepper;

use crate::{
    canary::{COUNT, Canary},
    layout::{ALIGNMENT, Learned, VTABLE, wakers},
    record::{CELL, Order, Tag},
};
use discover::{CACHE_BYTES, Cache, Cell, Discovery};
use memory::Memory;

/// How many cells are taken at most: more than any process has.
const MOST_CELLS: usize = 4 << 20;
/// The words that are kept of each: header, state, `poll`.
const KEPT: usize = 3;
/// How many of them can be the only ones of their owner: there are so many owners.
const MOST_ALONE: usize = 1 << 17;
/// Added to the address of such a cell once the owner's list was found.
const LISTED: u64 = 1;
/// How many wakers inside of tasks are called at most.
const MOST_WAKERS: usize = 1 << 17;
/// How many of the last news about types of tasks are kept in mind.
const TOLD: usize = 64;
/// Cells in one record.
const BATCH: usize = 512;
/// For looking which pages are present.
const PAGES_BYTES: usize = 4096;

/// What the inside starts with.
pub(crate) struct Setup<'a> {
    pub(crate) canaries: [Canary; COUNT],
    pub(crate) waker_vtable: usize,
    /// Absent where polls can't be stepped.
    pub(crate) stepper: Option<&'a Stepper>,
    /// Whether tasks are to be polled.
    pub(crate) wants_trees: bool,
    /// Addresses that are looked for in cells of which nothing else tells whose they are; sorted.
    pub(crate) marks: &'a [usize],
}

/// The memory that is worked with.
struct Room {
    cells: &'static mut [u64],
    count: usize,
    /// How many of them come first that have neighbours. The headers of these are sorted, as are those of
    /// the rest.
    with_neighbours: usize,
    batch: &'static mut [u64],
    pages: &'static mut [u64],
    cache: &'static mut [u64],
    other_vtable: &'static mut [u64],
    /// Cells that are alone in the list of their owner, as far as they say.
    alone: &'static mut [u64],
}

impl Room {
    fn new(copy: &Copy<'_>) -> Option<Self> {
        Some(Self {
            cells: copy.pages(MOST_CELLS * KEPT * 8)?,
            count: 0,
            with_neighbours: 0,
            batch: copy.pages(BATCH * CELL * 8)?,
            pages: copy.pages(PAGES_BYTES)?,
            cache: copy.pages(CACHE_BYTES)?,
            other_vtable: copy.pages(PAGES_BYTES)?,
            alone: copy.pages(MOST_ALONE * 8)?,
        })
    }

    /// The state of the cell with this header, if there is one.
    fn state(&self, header: usize) -> Option<usize> {
        let cells = self.cells.as_chunks::<KEPT>().0;
        let cells = cells.get(..self.count).unwrap_or_default();
        let (first, rest) = cells.split_at(self.with_neighbours.min(cells.len()));
        let find = |cells: &[[u64; KEPT]]| {
            let found = cells.binary_search_by_key(&(header as u64), |[header, ..]| *header);
            let [_, state, _] = *cells.get(found.ok()?)?;
            Some(state as usize)
        };
        find(first).or_else(|| find(rest))
    }

    /// What is kept of the cell with this number.
    fn cell(&self, number: u64) -> Option<poll::Polled> {
        let start = usize::try_from(number)
            .ok()
            .filter(|number| *number < self.count)?
            * KEPT;
        let [header, state, poll] = self.cells.get(start..start + KEPT)?.try_into().ok()?;
        Some(poll::Polled {
            number,
            header: header as usize,
            state: state as usize,
            poll: poll as usize,
        })
    }
}

/// All that the copy does.
pub(crate) fn run(copy: &mut Copy<'_>, setup: &Setup<'_>) {
    if let Err(reason) = try_run(copy, setup) {
        copy.send(&[bytes(&[Tag::Unknown as u64, reason as u64])]);
    }
}

fn try_run(copy: &mut Copy<'_>, setup: &Setup<'_>) -> Result<(), usize> {
    let mut room = Room::new(copy).ok_or(7_usize)?;
    let learned = discover::learn(Memory { copy }, &setup.canaries)?;
    discover(copy, learned, setup.marks, &mut room);
    if room.count == 0 {
        return Err(0);
    }
    running::report(copy, &mut room);
    let wakers = find_wakers(copy, &mut room, setup.waker_vtable);
    if !setup.wants_trees {
        done(copy);
        return Ok(());
    }
    let Room {
        other_vtable,
        pages,
        ..
    } = &mut room;
    let other_vtable = std::mem::take(other_vtable);
    hook::install(copy, setup.waker_vtable, other_vtable, pages).ok_or(6_usize)?;
    done(copy);
    loop {
        let order = copy.next_order();
        let Some((what, cells)) = order.split_first() else {
            continue;
        };
        let stepper = setup.stepper;
        match (*what, stepper) {
            (what, _) if what == Order::Hook as u64 => poll::hook(copy, &room, cells),
            (what, Some(stepper)) if what == Order::Step as u64 => {
                poll::step(copy, &mut room, cells, stepper, &[]);
            }
            (what, Some(stepper)) if what == Order::WakeAndStep as u64 => {
                poll::step(copy, &mut room, cells, stepper, wakers);
            }
            _ => return Ok(()),
        }
        done(copy);
    }
}

/// Looks at all wakers. Those of executors inside of tasks are kept; of tasks it is told whether they are
/// this copy of tokio's, or another's.
fn find_wakers(copy: &Copy<'_>, room: &mut Room, tokio: usize) -> &'static [[u64; 2]] {
    let memory = Memory { copy };
    let kept = copy.pages(MOST_WAKERS * 16).unwrap_or_default();
    let kept = kept.as_chunks_mut::<2>().0;
    let mut count = 0;
    // The same again and again is not told each time.
    let mut told = [(0, 0); TOLD];
    let (pages, cells) = (std::mem::take(&mut room.pages), &*room);
    wake::each(memory, pages, |waker| {
        let is_own = waker.vtable == tokio;
        if let Some(state) = cells.state(waker.data) {
            if wakers(state) == 0 {
                // Whatever it is, it is no waker.
                return;
            }
            let vtable = memory.word(waker.data + VTABLE).unwrap_or(0);
            let news = (vtable, waker.vtable);
            let place = told.get_mut((vtable >> 4) % TOLD);
            if let Some(place) = place.filter(|place| **place != news) {
                *place = news;
                let tag = if is_own { Tag::Own } else { Tag::Foreign };
                copy.send(&[bytes(&[tag as u64, vtable as u64])]);
            }
        } else if let Some(place) = kept.get_mut(count).filter(|_| !is_own) {
            *place = [waker.wake as u64, waker.data as u64];
            count += 1;
        }
    });
    room.pages = pages;
    kept.get(..count).unwrap_or_default()
}

fn done(copy: &Copy<'_>) {
    copy.send(&[bytes(&[Tag::Done as u64])]);
    copy.flush();
}

/// Finds all cells, keeps them, and tells of them.
fn discover(copy: &Copy<'_>, learned: Learned, marks: &[usize], room: &mut Room) {
    let memory = Memory { copy };
    let Room {
        cells,
        count,
        batch,
        pages,
        cache,
        alone,
        with_neighbours,
        ..
    } = room;
    let mut found = Finds {
        cells,
        count,
        batch: Batch {
            words: batch,
            cells: 0,
        },
    };
    let mut discovery = Discovery {
        memory,
        learned,
        marks,
        cache: Cache(cache),
    };
    let mut singles = 0;
    memory.each_piece(pages, |piece| {
        for (header, _) in piece.words(ALIGNMENT) {
            let Some(cell) = discovery.cell(header) else {
                continue;
            };
            if !discovery.is_alone(&cell) {
                found.add(copy, &cell, &discovery);
            } else if let Some(place) = alone.get_mut(singles) {
                *place = header as u64;
                singles += 1;
            }
        }
    });
    *with_neighbours = *found.count;
    // In the order in which they were found, which is that of their addresses.
    let alone = alone.get_mut(..singles).unwrap_or_default();
    mark_listed(memory, alone, pages);
    for header in alone.iter().filter(|header| *header & LISTED != 0) {
        if let Some(cell) = discovery.cell((header & !LISTED) as usize) {
            found.add(copy, &cell, &discovery);
        }
    }
    found.batch.send(copy);
}

/// Marks those that the list of an owner begins and ends with: two words side by side.
fn mark_listed(memory: Memory<'_>, alone: &mut [u64], pages: &mut [u64]) {
    let (Some(first), Some(last)) = (alone.first().copied(), alone.last().copied()) else {
        return;
    };
    let range = first as usize..=last as usize;
    memory.each_piece(pages, |piece| {
        let mut before = 0;
        for (_, word) in piece.words(8) {
            if word == before && range.contains(&word) {
                let place = alone.binary_search_by_key(&(word as u64), |header| header & !LISTED);
                if let Some(header) = place.ok().and_then(|place| alone.get_mut(place)) {
                    *header |= LISTED;
                }
            }
            before = word;
        }
    });
}

/// Where cells go that were found.
struct Finds<'a> {
    cells: &'a mut [u64],
    count: &'a mut usize,
    batch: Batch<'a>,
}

impl Finds<'_> {
    fn add(&mut self, copy: &Copy<'_>, cell: &Cell, discovery: &Discovery<'_>) {
        let start = *self.count * KEPT;
        let Some(kept) = self.cells.get_mut(start..start + KEPT) else {
            return;
        };
        kept.copy_from_slice(&[cell.header, cell.state, cell.says.poll].map(|word| word as u64));
        *self.count += 1;
        let words = [
            cell.header,
            cell.id,
            cell.state,
            cell.vtable,
            cell.says.poll,
            discovery.boxed_poll(cell),
            cell.owner,
            usize::from(discovery.holds_mark(cell)),
        ];
        self.batch.add(copy, words.map(|word| word as u64));
    }
}

/// A record of cells that is being filled.
struct Batch<'a> {
    words: &'a mut [u64],
    cells: usize,
}

impl Batch<'_> {
    fn add(&mut self, copy: &Copy<'_>, cell: [u64; CELL]) {
        let start = self.cells * CELL;
        if let Some(place) = self.words.get_mut(start..start + CELL) {
            place.copy_from_slice(&cell);
            self.cells += 1;
        }
        if self.cells == BATCH {
            self.send(copy);
        }
    }

    fn send(&mut self, copy: &Copy<'_>) {
        let words = self.words.get(..self.cells * CELL).unwrap_or_default();
        copy.send(&[bytes(&[Tag::Cells as u64]), bytes(words)]);
        self.cells = 0;
    }
}

/// Words as they are sent.
fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: any word is so many bytes, in the order of this platform, which is little-endian.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
