//! All tracked futures of the process, in shards so that threads seldom meet.

use std::{
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
    entry::{Birth, Entry, Kind, RuntimeTag, TaskId},
    local::LOCAL,
};

/// How many shards there are.
pub(crate) const SHARDS: u32 = 16;

/// How many entries [`visit`] looks at before it lets go of a shard's lock for a moment.
const BATCH: usize = 1024;

/// Ids are handed to shards in blocks, so that they are small numbers without a shared counter
/// on the way of every spawn.
const ID_BLOCK: u64 = 64;

static REGISTRY: [Mutex<Shard>; SHARDS as usize] =
    [const { Mutex::new(Shard::new()) }; SHARDS as usize];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static ABANDONED: AtomicBool = AtomicBool::new(false);
static RUNTIME_PROBE: OnceLock<fn() -> RuntimeTag> = OnceLock::new();

struct Shard {
    slots: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
    next_id: u64,
    last_id: u64,
    spawned: u64,
    finished: u64,
    polls_of_finished: u64,
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
        }
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
    let (number, parent) = LOCAL.with(|local| (local.shard(), local.current.get()));
    let shard_number = u8::try_from(number).unwrap_or_default();
    let shard = if ABANDONED.load(Relaxed) {
        None
    } else {
        lock(shard_number)
    };
    let Some(mut shard) = shard else {
        return Arc::new(Entry::new(birth, TaskId::NONE, parent, shard_number, 0));
    };
    let id = shard.next_id();
    let slot = match shard.free.pop() {
        Some(slot) => slot,
        None => {
            shard.slots.push(None);
            u32::try_from(shard.slots.len() - 1).unwrap_or(u32::MAX)
        }
    };
    let entry = Arc::new(Entry::new(birth, id, parent, shard_number, slot));
    if let Some(place) = shard.slots.get_mut(slot as usize) {
        *place = Some(Arc::clone(&entry));
    }
    shard.spawned += 1;
    entry
}

/// Takes out a future that ended or was dropped.
pub(crate) fn remove(entry: &Entry) {
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
    shard.finished += 1;
    shard.polls_of_finished = shard.polls_of_finished.wrapping_add(entry.polls());
    drop(shard);
    drop(kept);
}

/// All entries that exist during the whole call, and some of those that come or go meanwhile.
pub(crate) fn collect() -> Vec<Arc<Entry>> {
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

/// Has all later futures of this process go untracked. For the child of a `fork`, where another
/// thread of the parent may have held a lock of the registry for ever.
///
/// Async-signal-safe: one store.
pub fn abandon() {
    ABANDONED.store(true, SeqCst);
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
