//! All tracked futures of the process, in shards so that threads rarely contend.

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

/// The number of shards.
pub(crate) const SHARDS: u32 = 16;

/// The number of entries that [`visit`] reads before it briefly releases a shard's lock.
const BATCH: usize = 1024;

/// Shards get ids in blocks of this size, so that ids are small numbers but a spawn
/// needs no shared counter.
const ID_BLOCK: u64 = 64;

/// The number of cancelled futures that a shard remembers: enough for those of the last few
/// seconds, or of years if few of them had made others.
const CANCELLED: usize = 1024;

static REGISTRY: [Mutex<Shard>; SHARDS as usize] =
    [const { Mutex::new(Shard::new()) }; SHARDS as usize];
/// The number of entries in each shard that are known to be spans.
static SPANS: [Counter; SHARDS as usize] = [const { Counter(AtomicU64::new(0)) }; SHARDS as usize];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static ABANDONED: AtomicBool = AtomicBool::new(false);
static RUNTIME_PROBE: OnceLock<fn() -> RuntimeTag> = OnceLock::new();

/// Alone on its cache line, so that threads that count do not contend.
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
    /// By the address of the site. The compiler may make several addresses for one place.
    sites: BTreeMap<usize, EndedSite>,
    /// The latest futures that were dropped before their end and had made others.
    cancelled: VecDeque<TaskId>,
}

/// How a future ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was polled to its end.
    Ready,
    /// It was dropped.
    Dropped,
}

/// The futures made at one place in the source that have ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedSite {
    /// The place.
    pub site: &'static Location<'static>,
    /// The number of tasks, spans and blocking closures made there that have ended or were dropped.
    pub ended: u64,
    /// When the last of them ended.
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
    /// The number of tasks, and closures on blocking pools, that have not ended.
    pub tasks: u64,
    /// The number of spans that have not ended.
    pub spans: u64,
    /// How many of both are inside a poll now.
    pub running: u64,
    /// How long the longest of these polls has lasted so far.
    pub longest_poll: Duration,
    /// The number of futures tracked since the process started.
    pub spawned: u64,
    /// The number of tracked futures that have ended or were dropped.
    pub finished: u64,
    /// The number of polls, without those that a dump asked for.
    pub polls: u64,
}

/// Enters a new future.
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

/// Removes a future that ended or was dropped.
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

/// Notes that a future in the registry has turned out to be a span.
pub(crate) fn count_span(entry: &Entry) {
    if entry.id() == TaskId::NONE {
        return;
    }
    if let Some(spans) = SPANS.get(usize::from(entry.shard)) {
        spans.0.fetch_add(1, Relaxed);
    }
}

/// Returns the number of tasks, and closures on blocking pools, that have not ended. Takes each of
/// sixteen locks for a moment, however many tasks there are.
#[must_use]
pub fn task_count() -> u64 {
    let shards = REGISTRY.iter().map(lock_shard);
    let alive = shards.map(|shard| shard.spawned.saturating_sub(shard.finished));
    let alive: u64 = alive.sum();
    let spans: u64 = SPANS.iter().map(|spans| spans.0.load(Relaxed)).sum();
    alive.saturating_sub(spans)
}

/// Returns all entries that exist during the whole call, and some of those that come or
/// go meanwhile.
#[must_use]
pub fn entries() -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    visit(|entry| entries.push(Arc::clone(entry)));
    entries
}

/// Calls `look` with the same entries as [`entries`], with the lock of their shard held.
fn visit(mut look: impl FnMut(&Arc<Entry>)) {
    for shard in &REGISTRY {
        let mut from = 0;
        // The lock is released between batches: a spawn waits for one batch, not for
        // 100,000 entries.
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

/// Counts all tracked futures. It looks at each one: a few milliseconds for 100,000.
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

/// Returns what has ended so far, by the place where it was made. A place may occur several times.
#[must_use]
pub fn ended_sites() -> Vec<EndedSite> {
    let mut sites = Vec::new();
    for shard in REGISTRY.iter().map(lock_shard) {
        sites.extend(shard.sites.values());
    }
    sites
}

/// Returns tasks and spans that were dropped before their end and had spawned or wrapped others:
/// the latest thousands of them.
#[must_use]
pub fn cancelled() -> HashSet<TaskId> {
    let shards = REGISTRY.iter().map(lock_shard);
    shards.flat_map(|shard| shard.cancelled.clone()).collect()
}

/// Returns the addresses that the wakers of the tracked tasks point to, for comparison only. Tasks
/// that are held back are left out, as nothing of them is polled when their executor polls there.
#[must_use]
pub fn waker_addresses() -> Vec<(u64, TaskId)> {
    let tasks = entries();
    let is_one = |entry: &&Arc<Entry>| entry.kind() == Kind::Task && !entry.is_held_back();
    let addresses = tasks.iter().filter(is_one);
    addresses
        .filter_map(|entry| Some((entry.waker_address()?, entry.id())))
        .collect()
}

/// Returns the entries of one scope.
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

/// Returns the existing entries with these numbers.
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

/// Leaves all later futures of this process untracked. For the child of a `fork`, where another
/// thread of the parent may have held a lock of the registry, which nobody releases.
///
/// Async-signal-safe: it does one store.
pub fn abandon() {
    ABANDONED.store(true, SeqCst);
}

/// Whether [`abandon`] was called: this is the child of a `fork`.
#[inline]
#[must_use]
pub fn is_abandoned() -> bool {
    ABANDONED.load(Relaxed)
}

/// Sets the function that says, from inside a first poll, which runtime is polling. Only the first
/// call has an effect. The function must not block or panic.
pub fn set_runtime_probe(probe: fn() -> RuntimeTag) {
    RUNTIME_PROBE.get_or_init(|| probe);
}

/// Returns the runtime that polls on this thread now.
pub(crate) fn runtime_here() -> RuntimeTag {
    RUNTIME_PROBE.get().map_or(RuntimeTag(0), |probe| probe())
}

fn lock(shard: u8) -> Option<MutexGuard<'static, Shard>> {
    REGISTRY.get(usize::from(shard)).map(lock_shard)
}

fn lock_shard(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
