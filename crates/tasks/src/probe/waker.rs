//! The waker that a probed poll hands to its future.
//!
//! Its data is the entry, so cloning it allocates nothing, and however long a leaf keeps it, it
//! leads to the executor's waker from the latest poll.
//!
//! Everything here except `probing_waker` and `same_waker` runs inside `Waker::clone`, `wake` and
//! `drop`, where the caller may hold any lock of its own. `clone` and `drop` touch only atomics and
//! the stack. Waking takes the entry's waker lock for the time of one clone.
#![expect(
    unsafe_code,
    reason = "a waker that sees its own clone needs a RawWakerVTable"
)]

use std::{
    mem::ManuallyDrop,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    arch::{KeptRegisters, registers_here},
    capture::capture,
    ticket::MAX_HOPS,
};
use crate::{entry::Entry, local::LOCAL};

/// `Waker::will_wake` is true for equal pointers, and a leaf that sees this keeps the waker that it
/// has and clones nothing. So probes of one task alternate between vtables: only a leaf that was
/// polled in none of seven probes could mistake the eighth for the first.
const GENERATIONS: usize = 8;

static VTABLES: [RawWakerVTable; GENERATIONS] =
    [const { RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker) }; GENERATIONS];

/// Makes a waker for a new probe of `entry`.
pub(super) fn probing_waker(entry: &Arc<Entry>) -> Waker {
    entry.generation.fetch_add(1, Relaxed);
    entry.woken.store(false, Release);
    same_waker(entry)
}

/// Makes another waker for the latest probe of `entry`.
pub(super) fn same_waker(entry: &Arc<Entry>) -> Waker {
    entry.live_wakers.fetch_add(1, AcqRel);
    let data = Arc::into_raw(Arc::clone(entry)).cast::<()>();
    // SAFETY: `data` is a strong count of an `Arc<Entry>`, which is what the functions of all
    // vtables expect; they keep the contract of RawWaker and are thread-safe, as `Entry` is.
    unsafe { Waker::new(data, table(entry)) }
}

/// Returns the vtable of the entry's present probe.
fn table(entry: &Entry) -> &'static RawWakerVTable {
    let [first, ..] = &VTABLES;
    let generation = usize::from(entry.generation.load(Relaxed));
    VTABLES.get(generation % GENERATIONS).unwrap_or(first)
}

/// Whether `waker` is a probing waker.
pub(crate) fn is_probing(waker: &Waker) -> bool {
    VTABLES
        .as_ptr_range()
        .contains(&std::ptr::from_ref(waker.vtable()))
}

unsafe fn clone(data: *const ()) -> RawWaker {
    let registers = registers_here!();
    let entry = data.cast::<Entry>();
    // SAFETY: the waker being cloned owns a strong count, so the entry is alive.
    let alive = unsafe { &*entry };
    capture(alive, registers);
    alive.live_wakers.fetch_add(1, AcqRel);
    // SAFETY: as above. The new waker owns the new count.
    unsafe { Arc::increment_strong_count(entry) };
    RawWaker::new(data, table(alive))
}

unsafe fn wake(data: *const ()) {
    let registers = registers_here!();
    // SAFETY: the waker owns a strong count, so the entry is alive.
    use_waker(unsafe { &*data.cast::<Entry>() }, registers);
    // SAFETY: `wake` consumes the waker, so its count can be given up here.
    unsafe { drop_waker(data) };
}

unsafe fn wake_by_ref(data: *const ()) {
    let registers = registers_here!();
    // SAFETY: the waker is borrowed, so it owns a strong count during this call.
    use_waker(unsafe { &*data.cast::<Entry>() }, registers);
}

/// Uses the waker. A future that wakes itself during its poll yields there, so that
/// place is copied too.
fn use_waker(entry: &Entry, registers: Option<KeptRegisters>) {
    capture(entry, registers);
    entry.woken.store(true, Release);
    if let Some(hops) = hops_from_dump(entry) {
        entry.ticket.nudge(hops);
    }
    if let Some(waker) = entry.executor_waker() {
        waker.wake();
    }
}

/// Returns how many more polls may count as caused by a dump, if this wake is: it comes from the
/// dump's own wake of something inside the task, such as a child in a `FuturesUnordered`, or from a
/// poll that the dump wanted.
fn hops_from_dump(entry: &Entry) -> Option<u32> {
    LOCAL.with(|local| {
        let asked = local.asked.get();
        if local.asking.get() {
            Some(MAX_HOPS)
        } else if asked.task == entry.id() {
            asked.hops.checked_sub(1)
        } else {
            None
        }
    })
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the dropped waker owns a strong count, which passes to `entry` here.
    let entry = unsafe { Arc::from_raw(data.cast::<Entry>()) };
    let entry = ManuallyDrop::new(entry);
    entry.live_wakers.fetch_sub(1, AcqRel);
    drop(ManuallyDrop::into_inner(entry));
}

/// Returns the number of probing wakers of `entry`; `None` if there is none, and none was used
/// since the last probe began.
pub(crate) fn can_be_woken(entry: &Entry) -> Option<u32> {
    let live = entry.live_wakers.load(Acquire);
    (live > 0 || entry.woken.load(Acquire)).then_some(live)
}
