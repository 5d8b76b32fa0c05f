//! All tracked futures of the process, in shards so that threads seldom meet.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use crate::{
    clock::Monotonic,
    entry::{Birth, Entry, Kind, RuntimeTag, ScopeId, TaskId},
    local::{LOCAL, Local},
};

/// How many shards there are.
pub(crate) const SHARDS: u32 = 16;

/// How many entries [`visit`] looks at before it lets go of a shard's lock for a moment.
const BATCH: usize = 1024;

/// Ids are handed to shards in blocks, so that they are small numbers without a shared counter
/// on the way of every spawn.
const ID_BLOCK: u64 = 64;

/// How many cancelled futures a shard remembers: enough for those of the last seconds, or of years
/// where cancelling one that has made others is rare.
const CANCELLED: usize = 1024;

static REGISTRY: [Mutex<Shard>; SHARDS as usize] =
    [const { Mutex::new(Shard::new()) }; SHARDS as usize];
/// How many of the entries of each shard are known to be spans.
static SPANS: [Counter; SHARDS as usize] = [const { Counter(AtomicU64::new(0)) }; SHARDS as usize];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static ABANDONED: AtomicBool = AtomicBool::new(false);
static RUNTIME_PROBE: OnceLock<fn() -> RuntimeTag> = OnceLock::new();

/// Alone on its cache line, so that threads that count do not meet there.
#[repr(align(64))]
struct Counter(AtomicU64);

struct Shard {
    slots: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
    next_id: u64,
    last_id: u64,
    spawned: u64,
    finished: u64,
    polls_of_finished: u64,
    /// By the address of the site, of which the compiler may make several for one place.
    sites: BTreeMap<usize, EndedSite>,
    /// The last futures that were dropped before their end and had made others.
    cancelled: VecDeque<TaskId>,
}

/// How a future came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was polled to its end.
    Ready,
    /// It was dropped.
    Dropped,
}

/// What has ended of the futures that were made at one place in the source.
#[derive(Clone, Copy, Debug)]
pub struct EndedSite {
    /// The place.
    pub site: &'static Location<'static>,
    /// How many tasks, spans and blocking closures made there have ended or were dropped.
    pub ended: u64,
    /// When the last one did.
    pub last: Monotonic,
}

impl Shard {
    const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            next_id: 0,
            last_id: 0,
            spawned: 0,
            finished: 0,
            polls_of_finished: 0,
            sites: BTreeMap::new(),
            cancelled: VecDeque::new(),
        }
    }

    fn count_ended(&mut self, entry: &Entry) {
        self.finished += 1;
        self.polls_of_finished = self.polls_of_finished.wrapping_add(entry.polls());
        let site = entry.site();
        let ended = self
            .sites
            .entry(std::ptr::from_ref(site).addr())
            .or_insert(EndedSite {
                site,
                ended: 0,
                last: Monotonic::default(),
            });
        ended.ended += 1;
        ended.last = ended.last.max(entry.last_moved());
    }

    fn note_cancelled(&mut self, id: TaskId) {
        if self.cancelled.len() == CANCELLED {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(id);
    }

    fn next_id(&mut self) -> TaskId {
        if self.next_id == self.last_id {
            self.next_id = NEXT_ID.fetch_add(ID_BLOCK, Relaxed);
            self.last_id = self.next_id.wrapping_add(ID_BLOCK);
        }
        let id = TaskId::new(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}

/// Counters over all tracked futures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Census {
    /// Tasks, and closures on blocking pools, that have not ended.
    pub tasks: u64,
    /// Spans that have not ended.
    pub spans: u64,
    /// Those of both that are inside a poll now.
    pub running: u64,
    /// For how long the longest of these polls has lasted.
    pub longest_poll: Duration,
    /// All that were tracked since the process started.
    pub spawned: u64,
    /// All that ended or were dropped.
    pub finished: u64,
    /// All polls; those that a dump asked for do not count.
    pub polls: u64,
}

/// Enters a future that begins its life.
pub(crate) fn insert(birth: Birth) -> Arc<Entry> {
    let number = LOCAL.with(Local::shard);
    let shard_number = u8::try_from(number).unwrap_or_default();
    let shard = if ABANDONED.load(Relaxed) {
        None
    } else {
        lock(shard_number)
    };
    let Some(mut shard) = shard else {
        return Arc::new(Entry::new(birth, TaskId::NONE, shard_number, 0));
    };
    let id = shard.next_id();
    let slot = match shard.free.pop() {
        Some(slot) => slot,
        None => {
            shard.slots.push(None);
            u32::try_from(shard.slots.len() - 1).unwrap_or(u32::MAX)
        }
    };
    let entry = Arc::new(Entry::new(birth, id, shard_number, slot));
    if let Some(place) = shard.slots.get_mut(slot as usize) {
        *place = Some(Arc::clone(&entry));
    }
    shard.spawned += 1;
    if entry.kind() == Kind::Span {
        count_span(&entry);
    }
    entry
}

/// Takes out a future that ended or was dropped.
pub(crate) fn remove(entry: &Entry, end: End) {
    entry.finish();
    if entry.id() == TaskId::NONE || ABANDONED.load(Relaxed) {
        return;
    }
    let Some(mut shard) = lock(entry.shard) else {
        return;
    };
    let kept = shard
        .slots
        .get_mut(entry.slot as usize)
        .and_then(Option::take);
    shard.free.push(entry.slot);
    shard.count_ended(entry);
    if end == End::Dropped && entry.has_made() {
        shard.note_cancelled(entry.id());
    }
    if entry.kind() == Kind::Span {
        if let Some(spans) = SPANS.get(usize::from(entry.shard)) {
            spans.0.fetch_sub(1, Relaxed);
        }
    }
    drop(shard);
    drop(kept);
}

/// A future that was entered has turned out to be a span.
pub(crate) fn count_span(entry: &Entry) {
    if entry.id() == TaskId::NONE {
        return;
    }
    if let Some(spans) = SPANS.get(usize::from(entry.shard)) {
        spans.0.fetch_add(1, Relaxed);
    }
}

/// How many tasks, and closures on blocking pools, have not ended. Takes each of sixteen locks for
/// a moment, however many tasks there are.
#[must_use]
pub fn task_count() -> u64 {
    let shards = REGISTRY.iter().map(lock_shard);
    let alive = shards.map(|shard| shard.spawned.saturating_sub(shard.finished));
    let alive: u64 = alive.sum();
    let spans: u64 = SPANS.iter().map(|spans| spans.0.load(Relaxed)).sum();
    alive.saturating_sub(spans)
}

/// All entries that exist during the whole call, and some of those that come or go meanwhile.
#[must_use]
pub fn entries() -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    visit(|entry| entries.push(Arc::clone(entry)));
    entries
}

/// Calls `look` with the same entries, with the lock of their shard held.
fn visit(mut look: impl FnMut(&Arc<Entry>)) {
    for shard in &REGISTRY {
        let mut from = 0;
        // The lock is let go of between batches: a spawn waits for one batch, not for 100,000.
        loop {
            let shard = lock_shard(shard);
            let Some(rest) = shard.slots.get(from..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            rest.iter().take(BATCH).flatten().for_each(&mut look);
            from += BATCH;
        }
    }
}

/// Counts all tracked futures. Looks at each one: a few milliseconds for 100,000.
#[must_use]
pub fn census() -> Census {
    let mut census = Census::default();
    for shard in REGISTRY.iter().map(lock_shard) {
        census.spawned += shard.spawned;
        census.finished += shard.finished;
        census.polls = census.polls.wrapping_add(shard.polls_of_finished);
    }
    visit(|entry| {
        match entry.kind() {
            Kind::Span => census.spans += 1,
            Kind::Task | Kind::Blocking | Kind::Undecided => census.tasks += 1,
        }
        if entry.polled_by().is_some() {
            census.running += 1;
            census.longest_poll = census.longest_poll.max(entry.in_state_for());
        }
        census.polls = census.polls.wrapping_add(entry.polls());
    });
    census
}

/// What has ended so far, by the place where it was made. One place may occur several times.
#[must_use]
pub fn ended_sites() -> Vec<EndedSite> {
    let mut sites = Vec::new();
    for shard in REGISTRY.iter().map(lock_shard) {
        sites.extend(shard.sites.values());
    }
    sites
}

/// Tasks and spans that were dropped before their end and had spawned or wrapped others: the last
/// thousands of them.
#[must_use]
pub fn cancelled() -> HashSet<TaskId> {
    let shards = REGISTRY.iter().map(lock_shard);
    shards.flat_map(|shard| shard.cancelled.clone()).collect()
}

/// Where the wakers of the tracked tasks lead to: addresses that are only to be compared. What is
/// held back is left out: nothing of it is polled when its executor polls there.
#[must_use]
pub fn waker_addresses() -> Vec<(u64, TaskId)> {
    let tasks = entries();
    let is_one = |entry: &&Arc<Entry>| entry.kind() == Kind::Task && !entry.is_held_back();
    let addresses = tasks.iter().filter(is_one);
    addresses
        .filter_map(|entry| Some((entry.waker_address()?, entry.id())))
        .collect()
}

/// The entries of one scope.
#[must_use]
pub fn entries_of(scope: ScopeId) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    visit(|entry| {
        if entry.scope() == scope {
            entries.push(Arc::clone(entry));
        }
    });
    entries
}

/// The entries with these numbers that exist.
#[must_use]
pub fn entries_with(ids: &HashSet<u64>) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    visit(|entry| {
        if ids.contains(&entry.id().get()) {
            entries.push(Arc::clone(entry));
        }
    });
    entries
}

/// Has all later futures of this process go untracked. For the child of a `fork`, where another
/// thread of the parent may have held a lock of the registry for ever.
///
/// Async-signal-safe: one store.
pub fn abandon() {
    ABANDONED.store(true, SeqCst);
}

/// Whether [`abandon`] was called: this is the child of a `fork`.
#[inline]
#[must_use]
pub fn is_abandoned() -> bool {
    ABANDONED.load(Relaxed)
}

/// Sets what tells, from inside a first poll, which runtime is polling. Only the first call has
/// an effect. The function must not block or panic.
pub fn set_runtime_probe(probe: fn() -> RuntimeTag) {
    RUNTIME_PROBE.get_or_init(|| probe);
}

/// The runtime that polls on this thread now.
pub(crate) fn runtime_here() -> RuntimeTag {
    RUNTIME_PROBE.get().map_or(RuntimeTag(0), |probe| probe())
}

fn lock(shard: u8) -> Option<MutexGuard<'static, Shard>> {
    REGISTRY.get(usize::from(shard)).map(lock_shard)
}

fn lock_shard(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
