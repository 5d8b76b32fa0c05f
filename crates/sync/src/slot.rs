//! A place inside a lock for one holder.

#![expect(
    unsafe_code,
    reason = "the address of a static location is kept in an atomic and followed"
)]

use std::{
    panic::Location,
    ptr,
    sync::atomic::{
        AtomicI32, AtomicPtr, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
};

use rtops_tasks::Monotonic;

use crate::claim::{Claim, Mode};

/// The bit in a slot's share for [`Mode::Exclusive`].
const EXCLUSIVE: u32 = 1 << 31;

/// The two lowest bits of a slot's version.
const STATE: u32 = 3;
const FREE: u32 = 0;
const WRITING: u32 = 1;
const HELD: u32 = 2;
/// The difference between the versions of two successive holders.
const STEP: u32 = 4;

/// One holder, or none. Only the holder writes to it. A reader notices a change by the version,
/// which differs for each holder.
///
/// The last store of a change is `SeqCst`, and so is what the holder reads next to find out whether
/// somebody waits: see [`Ledger`](crate::ledger::Ledger).
pub(crate) struct Slot {
    version: AtomicU32,
    tid: AtomicI32,
    share: AtomicU32,
    site: AtomicPtr<Location<'static>>,
    task: AtomicU64,
    since: AtomicU64,
}

impl Slot {
    pub(crate) const fn new() -> Self {
        Self {
            version: AtomicU32::new(FREE),
            tid: AtomicI32::new(0),
            share: AtomicU32::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
            task: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Records the holder of a lock that has one holder at a time. Returns the version
    /// to clear the slot with.
    #[inline]
    pub(crate) fn put(&self, claim: &Claim) -> u32 {
        let last = self.version.load(Relaxed) & !STATE;
        let version = last.wrapping_add(STEP);
        self.version.store(version | WRITING, Relaxed);
        self.fill(claim, version)
    }

    /// Records a holder, unless there is one. Returns the version to clear the slot with.
    #[inline]
    pub(crate) fn try_put(&self, claim: &Claim) -> Option<u32> {
        let last = self.version.load(Relaxed);
        if last & STATE != FREE {
            return None;
        }
        let version = last.wrapping_add(STEP);
        self.version
            .compare_exchange(last, version | WRITING, Relaxed, Relaxed)
            .ok()?;
        Some(self.fill(claim, version))
    }

    #[inline]
    fn fill(&self, claim: &Claim, version: u32) -> u32 {
        // A reader that sees one of the following stores also sees that the version has changed.
        fence(Release);
        self.tid.store(claim.tid, Relaxed);
        self.share.store(share(claim.mode, claim.permits), Relaxed);
        let site = ptr::from_ref(claim.site).cast_mut();
        self.site.store(site, Relaxed);
        self.task.store(claim.task, Relaxed);
        self.since.store(claim.since.as_nanos(), Relaxed);
        self.version.store(version | HELD, SeqCst);
        version | HELD
    }

    /// Changes what is held.
    pub(crate) fn set_share(&self, mode: Mode, permits: u32) {
        self.share.store(share(mode, permits), SeqCst);
    }

    /// Clears the slot, unless another holder came first: if the closure of a `map` panics, the
    /// guard may be dropped before its claim.
    #[inline]
    pub(crate) fn clear(&self, version: u32) {
        let free = version & !STATE | FREE;
        // What another holder has written since stays.
        self.version
            .compare_exchange(version, free, SeqCst, Relaxed)
            .ok();
    }

    /// Returns the holder. Also `None` while it is being written: the writer will then check
    /// whether anybody waits.
    pub(crate) fn read(&self) -> Option<Claim> {
        let version = self.version.load(SeqCst);
        if version & STATE != HELD {
            return None;
        }
        let share = self.share.load(Relaxed);
        let site = self.site.load(Relaxed);
        let (task, tid) = (self.task.load(Relaxed), self.tid.load(Relaxed));
        let since = Monotonic::from_nanos(self.since.load(Relaxed));
        fence(Acquire);
        if self.version.load(Relaxed) != version {
            return None;
        }
        Some(Claim {
            task,
            tid,
            since,
            // SAFETY: the version says that a holder was written, and `fill` writes only addresses
            // of a `&'static Location`; the first one was written before this version.
            site: unsafe { site.as_ref() }?,
            mode: if share & EXCLUSIVE == 0 {
                Mode::Shared
            } else {
                Mode::Exclusive
            },
            permits: share & !EXCLUSIVE,
        })
    }
}

fn share(mode: Mode, permits: u32) -> u32 {
    let permits = permits.min(!EXCLUSIVE);
    match mode {
        Mode::Exclusive => permits | EXCLUSIVE,
        Mode::Shared => permits,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        hint::black_box,
        panic::Location,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    use super::{Claim, Mode, Monotonic, Slot};

    fn claim(number: u32) -> Claim {
        Claim {
            task: u64::from(number),
            tid: i32::try_from(number).unwrap(),
            since: Monotonic::from_nanos(u64::from(number)),
            site: Location::caller(),
            mode: Mode::Shared,
            permits: number,
        }
    }

    #[test]
    fn a_slot_has_one_holder() {
        let slot = Slot::new();
        assert!(slot.read().is_none());
        let first = slot.try_put(&claim(1)).unwrap();
        assert!(slot.try_put(&claim(2)).is_none());
        assert_eq!(slot.read().unwrap().task, 1);
        slot.set_share(Mode::Exclusive, 7);
        let read = slot.read().unwrap();
        assert_eq!((read.mode, read.permits), (Mode::Exclusive, 7));
        slot.clear(first);
        assert!(slot.read().is_none());
        assert!(slot.try_put(&claim(2)).is_some());
    }

    #[test]
    fn who_comes_late_to_clear_leaves_the_next_holder() {
        let slot = Slot::new();
        let first = slot.put(&claim(1));
        slot.put(&claim(2));
        slot.clear(first);
        assert_eq!(slot.read().unwrap().task, 2);
    }

    #[test]
    fn a_reader_never_sees_two_holders_in_one() {
        let slot = Slot::new();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..200_000 {
                    slot.clear(slot.put(&claim(black_box(number))));
                }
                slot.put(&claim(7));
                done.store(true, Relaxed);
            });
            let mut seen = 0;
            while !done.load(Relaxed) || seen == 0 {
                if let Some(read) = slot.read() {
                    seen += 1;
                    let number = u64::from(read.permits);
                    assert_eq!(read.task, number);
                    assert_eq!(u64::try_from(read.tid).unwrap(), number);
                    assert_eq!(read.since.as_nanos(), number);
                }
            }
        });
    }
}
