//! The ledger of a lock: who holds it and, once somebody waits, what others can see of it.

use std::{
    panic::Location,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use crate::{
    claim::{Claim, Kind, Mode, Wish},
    resource::{About, Resource, State},
    slot::Slot,
};

/// The ledger of one lock, which is part of the lock. It has room for `N` holders; any more, and
/// all waiters, are recorded in the [`Resource`] that is made for them.
///
/// Others see only the resource, never the lock: a lock may be moved or dropped while a leaked
/// future still waits for it. While somebody waits, holders copy their slots to the resource. None
/// is missed: a holder writes its slot and then reads `waiting`; a waiter adds to `waiting` and
/// then reads the slots. All of this is `SeqCst`, so one of the two sees what the other did.
pub(crate) struct Ledger<const N: usize> {
    slots: [Slot; N],
    waiting: AtomicU32,
    about: About,
    resource: OnceLock<Arc<Resource>>,
}

impl<const N: usize> Ledger<N> {
    pub(crate) const fn new(
        kind: Kind,
        value_type: fn() -> &'static str,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            slots: [const { Slot::new() }; N],
            waiting: AtomicU32::new(0),
            about: About {
                kind,
                value_type,
                site,
            },
            resource: OnceLock::new(),
        }
    }

    /// Records that the current task has taken what it wished for.
    #[inline]
    pub(crate) fn take(&self, wish: Wish) -> Held<'_, N> {
        self.put(wish.claim())
    }

    #[inline]
    fn put(&self, claim: Claim) -> Held<'_, N> {
        let first = self.slots.first();
        let version = first.and_then(|slot| match N {
            // There is one holder at a time.
            1 => Some(slot.put(&claim)),
            _ => slot.try_put(&claim),
        });
        let Some(version) = version else {
            return self.put_elsewhere(claim);
        };
        self.tell();
        Held {
            ledger: self,
            place: 0,
            version,
        }
    }

    #[inline(never)]
    fn put_elsewhere(&self, claim: Claim) -> Held<'_, N> {
        let mut slots = self.slots.iter().enumerate();
        let found = slots.find_map(|(place, slot)| Some((place, slot.try_put(&claim)?)));
        let (place, version) = match found {
            Some(found) => found,
            None => (N + self.resource().state().overflow.insert(claim), 0),
        };
        self.tell();
        Held {
            ledger: self,
            // There can't be four billion guards.
            place: u32::try_from(place).unwrap_or(u32::MAX),
            version,
        }
    }

    /// Copies the slots to where others can see them, if anybody waits.
    #[inline]
    fn tell(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.copy_slots();
        }
    }

    #[cold]
    fn copy_slots(&self) {
        self.copy_slots_to(&mut self.resource().state());
    }

    fn copy_slots_to(&self, state: &mut State) {
        state.slots.clear();
        state.slots.extend(self.slots.iter().filter_map(Slot::read));
    }

    /// Records that the current task waits, until the result is dropped.
    #[cold]
    pub(crate) fn wait(&self, wish: Wish) -> Waiter<'_> {
        let resource = self.resource();
        resource.make_known();
        let claim = wish.claim();
        self.waiting.fetch_add(1, SeqCst);
        let mut state = resource.state();
        self.copy_slots_to(&mut state);
        Waiter {
            place: state.waiters.insert(claim),
            waiting: &self.waiting,
            resource,
        }
    }

    pub(crate) fn resource(&self) -> &Arc<Resource> {
        self.resource.get_or_init(|| Resource::new(self.about))
    }
}

impl<const N: usize> Drop for Ledger<N> {
    fn drop(&mut self) {
        if let Some(resource) = self.resource.get() {
            resource.forget();
        }
    }
}

/// Records that something is held, until it is dropped.
pub(crate) struct Held<'a, const N: usize> {
    ledger: &'a Ledger<N>,
    /// The index of a slot, or `N` plus the place in the overflow.
    place: u32,
    /// The version of the slot.
    version: u32,
}

impl<'a, const N: usize> Held<'a, N> {
    #[inline]
    fn slot(&self) -> Option<&Slot> {
        self.ledger.slots.get(self.place as usize)
    }

    fn overflow(&self) -> usize {
        (self.place as usize).wrapping_sub(N)
    }

    /// Changes what is held.
    pub(crate) fn set_share(&self, mode: Mode, permits: u32) {
        if let Some(slot) = self.slot() {
            slot.set_share(mode, permits);
            return self.ledger.tell();
        }
        let mut state = self.ledger.resource().state();
        if let Some(claim) = state.overflow.get_mut(self.overflow()) {
            (claim.mode, claim.permits) = (mode, permits);
        }
    }

    /// Makes a second claim of the same task, for some of the permits.
    pub(crate) fn split(&self, permits: u32) -> Self {
        let own = match self.slot() {
            Some(slot) => slot.read(),
            None => {
                let mut state = self.ledger.resource().state();
                let own = state.overflow.get_mut(self.overflow());
                own.copied()
            }
        };
        // Nobody else writes its own slot, so it is always there.
        let wish = Wish::shared(self.ledger.about.site, permits);
        let own = own.unwrap_or_else(|| wish.claim());
        self.ledger.put(Claim { permits, ..own })
    }
}

impl<const N: usize> Drop for Held<'_, N> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            slot.clear(self.version);
            return self.ledger.tell();
        }
        let mut state = self.ledger.resource().state();
        state.overflow.remove(self.overflow());
    }
}

/// Records that somebody waits, until it is dropped.
pub(crate) struct Waiter<'a> {
    waiting: &'a AtomicU32,
    resource: &'a Resource,
    place: usize,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.resource.state().waiters.remove(self.place);
        self.waiting.fetch_sub(1, SeqCst);
    }
}
