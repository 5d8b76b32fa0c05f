//! What others can see of a lock from its first wait on: who waits for it and who holds it.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Unbounded},
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use rtops_tasks::{Entry, Monotonic, is_abandoned};

use crate::claim::{Claim, Kind, Mode};

/// All resources that were ever waited for and still exist, by number.
static RESOURCES: Mutex<BTreeMap<u64, Arc<Resource>>> = Mutex::new(BTreeMap::new());

/// The number of resources that are read before the global lock is briefly released.
const BATCH: usize = 1024;
/// The maximum number of claims of one resource that are reported, as they are copied
/// while its lock is held.
const MAX_CLAIMS: usize = 4096;

/// What a resource is.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) kind: Kind,
    pub(crate) value_type: fn() -> &'static str,
    pub(crate) site: &'static Location<'static>,
}

/// A resource as seen by others.
pub(crate) struct Resource {
    id: u64,
    about: About,
    /// Whether it is in the global list, where the first wait puts it.
    known: AtomicBool,
    state: Mutex<State>,
}

/// Written only by those who hold the resource or wait for it, each for its own claim.
#[derive(Default)]
pub(crate) struct State {
    /// A copy of the resource's slots, kept up to date while somebody waits.
    pub(crate) slots: Vec<Claim>,
    /// Holders without a slot.
    pub(crate) overflow: Places,
    pub(crate) waiters: Places,
    /// For a set of tasks: its tasks, some of which may have ended.
    pub(crate) members: Vec<Arc<Entry>>,
}

/// A resource that somebody waits for.
#[derive(Clone, Debug)]
pub struct Contended {
    /// Its number, unique in the process and never reused.
    pub id: u64,
    /// What it is.
    pub kind: Kind,
    /// The type of the value inside; empty if there is none.
    pub value_type: &'static str,
    /// Where it was created.
    pub site: &'static Location<'static>,
    /// Who holds it.
    pub holders: Vec<Claim>,
    /// Who waits for it.
    pub waiters: Vec<Claim>,
    /// The number of holders and waiters that are left out of the lists above.
    pub left_out: usize,
}

/// Returns all resources of the process that somebody waits for.
///
/// Each one is consistent, but they are read one after the other.
#[must_use]
pub fn contended() -> Vec<Contended> {
    let mut all = Vec::new();
    if is_abandoned() {
        return all;
    }
    let mut last = 0;
    loop {
        let batch: Vec<Arc<Resource>> = resources()
            .range((Excluded(last), Unbounded))
            .take(BATCH)
            .map(|(_, resource)| Arc::clone(resource))
            .collect();
        let Some(end) = batch.last() else { return all };
        last = end.id;
        all.extend(batch.iter().filter_map(|resource| resource.contended()));
    }
}

impl Resource {
    pub(crate) fn new(about: About) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: LAST.fetch_add(1, Relaxed).wrapping_add(1),
            about,
            known: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// Puts it into the global list, once.
    pub(crate) fn make_known(self: &Arc<Self>) {
        // In the child of a `fork`, the global lock may be held forever by a thread
        // that is not there.
        if !self.known.swap(true, AcqRel) && !is_abandoned() {
            resources().insert(self.id, Arc::clone(self));
        }
    }

    /// Notes that the lock is gone. Only leaked claims on it are left.
    pub(crate) fn forget(&self) {
        if self.known.load(Relaxed) && !is_abandoned() {
            let removed = resources().remove(&self.id);
            drop(removed);
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contended(&self) -> Option<Contended> {
        let state = self.state();
        if state.waiters.is_empty() {
            return None;
        }
        let waiters = state.waiters.first(MAX_CLAIMS);
        let all_waiters = state.waiters.len;
        let members = state.members.iter();
        let members = members.filter(|entry| !entry.is_finished());
        let all_holders = state.slots.len() + state.overflow.len + members.clone().count();
        let slots = state.slots.iter().copied();
        let holders: Vec<Claim> = slots
            .chain(state.overflow.iter())
            .chain(members.map(|entry| claim_of(entry)))
            .take(MAX_CLAIMS)
            .collect();
        drop(state);
        Some(Contended {
            id: self.id,
            kind: self.about.kind,
            value_type: (self.about.value_type)(),
            site: self.about.site,
            left_out: all_waiters - waiters.len() + all_holders - holders.len(),
            holders,
            waiters,
        })
    }
}

/// Makes the claim of a task that is in a set, from its creation on.
fn claim_of(entry: &Entry) -> Claim {
    let now = Monotonic::now().as_nanos();
    let age = u64::try_from(entry.age().as_nanos()).unwrap_or(u64::MAX);
    Claim {
        task: entry.id().get(),
        tid: entry.polled_by().unwrap_or(0),
        since: Monotonic::from_nanos(now.saturating_sub(age)),
        site: entry.site(),
        mode: Mode::Shared,
        permits: 1,
    }
}

fn resources() -> MutexGuard<'static, BTreeMap<u64, Arc<Resource>>> {
    RESOURCES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims that keep their places.
#[derive(Default)]
pub(crate) struct Places {
    places: Vec<Option<Claim>>,
    free: Vec<usize>,
    len: usize,
}

impl Places {
    /// If there are more places than this, they are freed once all are empty.
    const KEPT: usize = 64;

    pub(crate) fn insert(&mut self, claim: Claim) -> usize {
        self.len += 1;
        let place = self.free.pop();
        if let Some(free) = place.and_then(|place| self.places.get_mut(place)) {
            *free = Some(claim);
            return place.unwrap_or_default();
        }
        self.places.push(Some(claim));
        self.places.len() - 1
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Claim> {
        self.places.get_mut(place)?.as_mut()
    }

    pub(crate) fn remove(&mut self, place: usize) {
        if self.places.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
            self.len -= 1;
        }
        if self.len == 0 && self.places.len() > Self::KEPT {
            *self = Self::default();
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn iter(&self) -> impl Iterator<Item = Claim> {
        self.places.iter().filter_map(|place| *place)
    }

    fn first(&self, most: usize) -> Vec<Claim> {
        self.iter().take(most).collect()
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("id", &self.id)
            .field("kind", &self.about.kind)
            .finish_non_exhaustive()
    }
}
