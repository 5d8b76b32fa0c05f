//! A fixed number of places for copies of stack memory.
//!
//! A place is claimed and filled inside `Waker::clone`, on the leaf's thread: claiming is a few
//! compare-and-swaps, filling is one copy. The driver reads it and frees it.
#![expect(
    unsafe_code,
    reason = "copies raw stack memory into cells that a state machine hands from thread to thread"
)]

use std::{
    cell::UnsafeCell,
    fmt,
    mem::MaybeUninit,
    ops::RangeInclusive,
    sync::atomic::{
        AtomicU8, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use rtops_types::StackSlice;

use super::{
    arch::{KeptRegisters, copy_words},
    stacks::{self, OwnStack},
};
use crate::entry::TaskId;

/// The maximum number of futures that are told apart in one stack: a task and the
/// spans around its leaf.
pub(super) const MAX_OWNERS: usize = 16;

/// The size of the largest copy, in bytes.
pub(super) const LARGEST_COPY: u64 = 1 << 20;
const WORD: u64 = size_of::<u64>() as u64;

const FREE: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A future that has frames in a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Its number in the dump.
    pub index: usize,
    /// Its number in the process.
    pub id: TaskId,
    /// An address in the frame of the function that polls it, where its own frames end.
    /// `None` if that frame is not in the copy, because it is on another stack or further
    /// up than the copy goes.
    pub base: Option<u64>,
}

impl Owner {
    pub(super) const NONE: Self = Self {
        index: 0,
        id: TaskId::NONE,
        base: None,
    };
}

/// A copy of the stack from the await point to the root of the probed future, or to the end of the
/// stack that the await point is on.
pub struct StackCopy<'a> {
    /// The registers and the memory.
    pub stack: StackSlice<'a>,
    /// The other registers that functions preserve.
    pub saved: [u64; 5],
    /// Whether the stack was larger than a place.
    pub truncated: bool,
    /// Whether it is of the thread's own stack, to which [`Stale`](super::Stale) applies, rather
    /// than another one, such as a coroutine's.
    pub is_own_stack: bool,
    /// The probed future, then its spans around the await point.
    pub owners: &'a [Owner],
}

impl fmt::Debug for StackCopy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackCopy")
            .field("registers", &self.stack.registers)
            .field("bytes", &self.stack.bytes.len())
            .field("truncated", &self.truncated)
            .field("owners", &self.owners)
            .finish_non_exhaustive()
    }
}

/// The number of places, and the size of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) places: usize,
    pub(super) bytes: usize,
}

/// The future whose stack is copied, the spans around the leaf, and where the copy ends.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) owners: [Owner; MAX_OWNERS],
    pub(super) owner_count: usize,
    /// The copy goes up to here, if this is on the same stack and fits.
    pub(super) end: u64,
}

impl Extent {
    /// Forgets the bases outside of the copy.
    fn keep_bases_in(&mut self, copied: RangeInclusive<u64>) {
        for owner in &mut self.owners {
            owner.base = owner.base.filter(|base| copied.contains(base));
        }
    }
}

pub(super) struct Slots {
    places: Box<[Place]>,
    memory: Vec<MaybeUninit<UnsafeCell<u64>>>,
    words: usize,
    hint: AtomicUsize,
}

struct Place {
    state: AtomicU8,
    head: UnsafeCell<Head>,
}

#[derive(Clone, Copy)]
struct Head {
    registers: KeptRegisters,
    extent: Extent,
    words: usize,
    truncated: bool,
    is_own_stack: bool,
}

// SAFETY: a place's head and its part of `memory` are touched only by the thread that moved its
// state from FREE to FILLING, until it stores FULL, and after that only by the driver (there is one
// per session), until it stores FREE. The acquire loads and release stores order the accesses.
unsafe impl Sync for Slots {}
// SAFETY: it owns its memory and holds nothing tied to a thread.
unsafe impl Send for Slots {}

impl Slots {
    /// Returns `None` if the process has no memory for it.
    pub(super) fn new(geometry: Geometry) -> Option<Self> {
        let words = geometry.bytes / size_of::<u64>();
        // Large, but only the used part is written: the allocator maps it, and the kernel backs
        // only the pages that are touched.
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(words.checked_mul(geometry.places)?)
            .ok()?;
        Some(Self {
            places: (0..geometry.places)
                .map(|_| Place {
                    state: AtomicU8::new(FREE),
                    head: UnsafeCell::new(Head {
                        registers: KeptRegisters::default(),
                        extent: Extent {
                            owners: [Owner::NONE; MAX_OWNERS],
                            owner_count: 0,
                            end: 0,
                        },
                        words: 0,
                        truncated: false,
                        is_own_stack: true,
                    }),
                })
                .collect(),
            memory,
            words,
            hint: AtomicUsize::new(0),
        })
    }

    /// Copies the stack from the stack pointer up to `extent.end` into a free place. If
    /// the two are not known to be on one stack, copies as far as can be read. Returns
    /// whether there was a place.
    ///
    /// Runs inside `Waker::clone`: no allocation, no lock, no path that panics.
    ///
    /// # Safety
    /// `registers` and `own_stack` belong to the calling thread, and the registers to a function
    /// that has not returned.
    /// has not returned.
    pub(super) unsafe fn copy(
        &self,
        registers: KeptRegisters,
        mut extent: Extent,
        own_stack: OwnStack,
    ) -> bool {
        let Some(number) = self.claim() else {
            return false;
        };
        let Some(place) = self.places.get(number) else {
            return false;
        };
        let sp = registers.stack.sp;
        let is_own_stack = own_stack.holds(sp, extent.end);
        let wanted = extent.end.saturating_sub(sp) / WORD;
        // On another stack, an end that is far away or below is that of a third one.
        let is_near = is_own_stack || (1..=LARGEST_COPY / WORD).contains(&wanted);
        let most = if is_near {
            self.words
                .min(usize::try_from(wanted).unwrap_or(usize::MAX))
        } else {
            self.words
        };
        // SAFETY: the place is FILLING by this thread's claim, so nobody else touches head or
        // memory. `number` is in range, so the `self.words` words of memory from `number * words`
        // on are inside the reserved capacity. If `own_stack` holds `sp` and the end, the thread
        // runs on its own stack at `sp` and everything between them is mapped; otherwise, there is
        // at least a frame at `sp`.
        unsafe {
            let target = self.memory.as_ptr().add(number * self.words);
            let target = target.cast::<u64>().cast_mut();
            let words = if is_own_stack {
                copy_words(sp, target, most);
                most
            } else {
                stacks::copy_other(sp, target, most)
            };
            extent.keep_bases_in(sp..=sp.saturating_add(words as u64 * WORD));
            *place.head.get() = Head {
                registers,
                extent,
                words,
                truncated: is_near && words == most && (most as u64) < wanted,
                is_own_stack,
            };
        }
        place.state.store(FULL, Release);
        true
    }

    fn claim(&self) -> Option<usize> {
        let count = self.places.len();
        let from = self.hint.fetch_add(1, Relaxed);
        (0..count)
            .map(|step| from.wrapping_add(step) % count)
            .find(|number| {
                self.places.get(*number).is_some_and(|place| {
                    place
                        .state
                        .compare_exchange(FREE, FILLING, Acquire, Relaxed)
                        .is_ok()
                })
            })
    }

    /// Hands every full place to `read` and frees it. Only for the driver.
    pub(super) fn drain(&self, mut read: impl FnMut(&StackCopy<'_>)) {
        for (number, place) in self.places.iter().enumerate() {
            if place.state.load(Acquire) != FULL {
                continue;
            }
            // SAFETY: the place is FULL, so it is the driver's until FREE is stored
            // below: the thread that filled it is done with it. `copy` initialized
            // `head.words` words of its part.
            let (head, bytes) = unsafe {
                let head = &*place.head.get();
                let start = self.memory.as_ptr().add(number * self.words);
                let length = head.words * size_of::<u64>();
                (head, std::slice::from_raw_parts(start.cast::<u8>(), length))
            };
            read(&StackCopy {
                stack: StackSlice {
                    registers: head.registers.stack,
                    bytes,
                },
                saved: head.registers.saved,
                truncated: head.truncated,
                is_own_stack: head.is_own_stack,
                owners: head
                    .extent
                    .owners
                    .get(..head.extent.owner_count)
                    .unwrap_or_default(),
            });
            place.state.store(FREE, Release);
        }
    }
}
