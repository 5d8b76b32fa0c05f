//! What is known about a tracked future.

use std::{
    borrow::Cow,
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{
            AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::Waker,
    time::Duration,
};

use crate::{
    clock::Monotonic,
    local::{Asked, LOCAL, Local},
    probe::{Ticket, can_be_woken, is_probing},
};

/// The number of a tracked future, unique in the process and never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TaskId(u64);

impl TaskId {
    /// No task.
    pub const NONE: Self = Self(0);

    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number; 0 for no task.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a tracked future is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A future that an executor polls on its own.
    Task,
    /// A future that is polled inside another tracked future.
    Span,
    /// A closure on a blocking pool.
    Blocking,
    /// Not decided yet: the first poll shows whether it is a task or a span.
    Undecided,
}

impl Kind {
    const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::Task,
            1 => Self::Span,
            2 => Self::Blocking,
            _ => Self::Undecided,
        }
    }

    const fn raw(self) -> u8 {
        match self {
            Self::Task => 0,
            Self::Span => 1,
            Self::Blocking => 2,
            Self::Undecided => 3,
        }
    }
}

/// The name given to a tracked future, if any.
pub type Name = Option<Cow<'static, str>>;

/// The runtime that polls a task, as returned by the function passed to
/// [`set_runtime_probe`](crate::set_runtime_probe); 0 if unknown.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RuntimeTag(pub u32);

/// A part of the process whose tasks are kept apart from all others, such as one of many tests that
/// run at once. A future belongs to the scope in which it is made, and so does all that it spawns.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ScopeId(pub(crate) u32);

/// What is known about a tracked future. Shared by the future, the registry and its wakers.
///
/// Fields that change are written only by the polling thread, with plain stores: a poll does no
/// read-modify-write on them. A reader may see values that are one poll apart.
pub struct Entry {
    id: TaskId,
    name: Name,
    future_type: fn() -> &'static str,
    site: &'static Location<'static>,
    created: Monotonic,
    parent: AtomicU64,
    /// While polled, when that poll began; otherwise, when the last poll ended.
    since: AtomicU64,
    polls: AtomicU64,
    /// The thread that polls it; 0 while it is suspended.
    tid: AtomicI32,
    runtime: AtomicU32,
    scope: ScopeId,
    /// The poll count, cut to 32 bits, when a probe last found wakers registered; or [`NEVER`].
    registered_at: AtomicU32,
    /// The executor's waker from the latest poll.
    waker: Mutex<Option<Waker>>,
    pub(crate) ticket: Ticket,
    /// The number of probing wakers that exist.
    pub(crate) live_wakers: AtomicU32,
    /// Whether a probing waker was used since the last probe began.
    pub(crate) woken: AtomicBool,
    /// Counts probes, so that two in a row hand out different wakers.
    pub(crate) generation: AtomicU8,
    kind: AtomicU8,
    finished: AtomicBool,
    /// Whether a part of it has ended, and nobody has asked for the next one.
    held_back: AtomicBool,
    /// Whether another tracked future was made inside it.
    has_made: AtomicBool,
    pub(crate) shard: u8,
    pub(crate) slot: u32,
}

/// In place of a poll count: no probe found wakers registered.
const NEVER: u32 = u32::MAX;

/// What is known about a future when it enters the registry.
pub(crate) struct Birth {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) future_type: fn() -> &'static str,
    pub(crate) site: &'static Location<'static>,
}

impl Entry {
    pub(crate) fn new(birth: Birth, id: TaskId, shard: u8, slot: u32) -> Self {
        let created = Monotonic::now();
        let (parent, scope) = LOCAL.with(|local| {
            local.has_made.set(true);
            (local.current.get(), local.scope.get())
        });
        Self {
            id,
            name: birth.name,
            future_type: birth.future_type,
            site: birth.site,
            created,
            parent: AtomicU64::new(parent.get()),
            since: AtomicU64::new(created.as_nanos()),
            polls: AtomicU64::new(0),
            tid: AtomicI32::new(0),
            runtime: AtomicU32::new(0),
            scope,
            registered_at: AtomicU32::new(NEVER),
            waker: Mutex::new(None),
            ticket: Ticket::none(),
            live_wakers: AtomicU32::new(0),
            woken: AtomicBool::new(false),
            generation: AtomicU8::new(0),
            kind: AtomicU8::new(birth.kind.raw()),
            finished: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            has_made: AtomicBool::new(false),
            shard,
            slot,
        }
    }

    /// Returns its number.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the name it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the type of the future or closure.
    #[must_use]
    pub fn future_type(&self) -> &'static str {
        (self.future_type)()
    }

    /// Returns where it was spawned or tracked.
    #[must_use]
    pub const fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Returns what it is; [`Kind::Undecided`] before the first poll of a future that
    /// may be a task or a span.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_raw(self.kind.load(Relaxed))
    }

    /// Returns the future that polls it, for a span; otherwise, the one that it was made in.
    #[must_use]
    pub fn parent(&self) -> TaskId {
        TaskId(self.parent.load(Relaxed))
    }

    /// Returns the scope that it was made in.
    #[must_use]
    pub const fn scope(&self) -> ScopeId {
        self.scope
    }

    /// Returns the runtime that polls it.
    #[must_use]
    pub fn runtime(&self) -> RuntimeTag {
        RuntimeTag(self.runtime.load(Relaxed))
    }

    /// Returns how often it was polled. Probes do not count.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    /// Returns the time since it was made.
    #[must_use]
    pub fn age(&self) -> Duration {
        Monotonic::now().since(self.created)
    }

    /// Returns the time since its current poll began, or else since its last poll ended.
    #[must_use]
    pub fn in_state_for(&self) -> Duration {
        Monotonic::now().since(Monotonic::from_nanos(self.since.load(Relaxed)))
    }

    /// Returns the thread that polls it now.
    #[must_use]
    pub fn polled_by(&self) -> Option<i32> {
        Some(self.tid.load(Relaxed)).filter(|tid| *tid != 0)
    }

    /// Whether it has ended or was dropped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.load(SeqCst)
    }

    /// Whether a part of it has ended, and nobody has asked for the next one. Waking
    /// it then polls nothing.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.held_back.load(Relaxed)
    }

    pub(crate) fn hold_back(&self) {
        // Also if the part ended in a poll that only a dump asked for.
        self.since.store(Monotonic::now().as_nanos(), Relaxed);
        self.held_back.store(true, Relaxed);
    }

    /// Notes that the next part is asked for.
    #[inline]
    pub(crate) fn go_on(&self) {
        if self.is_held_back() {
            self.held_back.store(false, Relaxed);
        }
    }

    /// Whether a tracked future was made inside it.
    pub(crate) fn has_made(&self) -> bool {
        self.has_made.load(Relaxed)
    }

    /// Returns when its last poll ended; if it was never polled, when it was made.
    pub(crate) fn last_moved(&self) -> Monotonic {
        Monotonic::from_nanos(self.since.load(Relaxed))
    }

    /// Notes that this probe found wakers registered, to notice later if they are dropped.
    pub(crate) fn note_registered(&self) {
        self.registered_at.store(self.polls_cut(), Relaxed);
    }

    /// Whether a probe found wakers registered and all of them have been dropped unused since,
    /// without a poll in between that could have registered others.
    pub(crate) fn lost_its_wakers(&self) -> bool {
        self.registered_at.load(Relaxed) == self.polls_cut()
            && can_be_woken(self).is_none()
            && !self.ticket.is_due()
            && self.polled_by().is_none()
            // In case a poll began and ended while the others were read.
            && self.registered_at.load(Relaxed) == self.polls_cut()
            && !self.is_finished()
    }

    fn polls_cut(&self) -> u32 {
        let cut = self.polls() & u64::from(u32::MAX);
        u32::try_from(cut).unwrap_or(NEVER).min(NEVER - 1)
    }

    pub(crate) fn decide(&self, kind: Kind, parent: TaskId) {
        self.kind.store(kind.raw(), Relaxed);
        self.parent.store(parent.get(), Relaxed);
    }

    pub(crate) fn set_runtime(&self, runtime: RuntimeTag) {
        self.runtime.store(runtime.0, Relaxed);
    }

    /// Keeps the waker of this poll, unless it is the one that is already kept, which the caller
    /// notes in `last`. Returns whether the waker of this poll is kept now.
    #[inline]
    pub(crate) fn keep_waker(&self, last: &mut WakerId, waker: &Waker) -> bool {
        *last == WakerId::of(waker) || self.replace_waker(last, waker)
    }

    /// Returns the address of the function that notes a new waker. An emulated poll has a waker
    /// that differs from the last one, so it calls this function first.
    #[must_use]
    pub fn keeps_waker() -> u64 {
        let function: fn(&Self, &mut WakerId, &Waker) -> bool = Self::replace_waker;
        (function as *const ()).addr() as u64
    }

    #[cold]
    #[inline(never)]
    fn replace_waker(&self, last: &mut WakerId, waker: &Waker) -> bool {
        // A probed parent hands down its probing waker. That is not one to keep: it leads back to
        // the parent's executor waker, which the last ordinary poll left here.
        if is_probing(waker) {
            return false;
        }
        let id = WakerId::of(waker);
        // Cloning and dropping may run the executor's code, so both happen outside the lock.
        let mut other = Some(waker.clone());
        // Another thread holds the lock, to read the older waker. The poll does not wait: `last`
        // stays as it is, and the next poll tries again. That may be far off, and no dump could
        // cause it without this waker, so ask for it here.
        let Some(mut kept) = self.try_lock_waker() else {
            waker.wake_by_ref();
            return false;
        };
        std::mem::swap(&mut *kept, &mut other);
        drop(kept);
        *last = id;
        true
    }

    /// Returns the executor's waker from the latest poll.
    ///
    /// The lock is held only for one clone, and never while foreign code is woken.
    pub(crate) fn executor_waker(&self) -> Option<Waker> {
        let waker = self.lock_waker().clone();
        if self.is_finished() {
            // `finish` found the lock taken and left this to this thread.
            let last = self.lock_waker().take();
            drop(last);
        }
        waker
    }

    /// Returns the address that its executor's waker points to, for comparison only; `None` before
    /// the first poll, and while the waker is being replaced.
    #[must_use]
    pub fn waker_address(&self) -> Option<u64> {
        let waker = self.try_lock_waker()?;
        waker.as_ref().map(|waker| waker.data().addr() as u64)
    }

    /// Returns the address that every shared pointer to this entry holds, such as that of the
    /// tracked future or closure. For comparison only.
    #[must_use]
    pub fn mark(self: &Arc<Self>) -> u64 {
        /// The two counts in front of the shared value.
        const COUNTS: usize = 2 * size_of::<usize>();
        (Arc::as_ptr(self).addr() - COUNTS) as u64
    }

    /// Marks it as ended and drops its waker, which may keep the task's memory alive.
    pub(crate) fn finish(&self) {
        self.finished.store(true, SeqCst);
        let waker = self.try_lock_waker().and_then(|mut kept| kept.take());
        drop(waker);
    }

    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock_waker(&self) -> Option<MutexGuard<'_, Option<Waker>>> {
        match self.waker.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

/// The waker that a future was last polled with. Only compared, never followed: the clone in the
/// entry ensures that no other waker can have the same two pointers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct WakerId {
    data: usize,
    vtable: usize,
}

impl WakerId {
    #[inline]
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: std::ptr::from_ref(waker.vtable()).addr(),
        }
    }
}

/// A poll under way. Notes its start, and its end when dropped, even by a panic.
pub(crate) struct Polling<'a> {
    entry: &'a Entry,
    outer: TaskId,
    outer_scope: ScopeId,
    outer_has_made: bool,
    at_end: AtEnd,
}

/// What the end of a poll does to the entry's time.
#[derive(Clone, Copy)]
pub(crate) enum AtEnd {
    /// The task waits somewhere new, or may do so.
    Restart,
    /// Only a dump wanted this poll: the task has still been waiting since before.
    Restore { since: u64, outer: Asked },
}

impl<'a> Polling<'a> {
    /// Begins an ordinary poll.
    #[inline]
    pub(crate) fn begin(entry: &'a Entry) -> Self {
        entry
            .polls
            .store(entry.polls.load(Relaxed).wrapping_add(1), Relaxed);
        Self::enter(entry, AtEnd::Restart)
    }

    /// Begins a poll that only a dump asked for.
    pub(crate) fn begin_asked(entry: &'a Entry, hops: u32) -> Self {
        let asked = Asked {
            task: entry.id,
            hops,
        };
        let at_end = AtEnd::Restore {
            since: entry.since.load(Relaxed),
            outer: LOCAL.with(|local| local.asked.replace(asked)),
        };
        Self::enter(entry, at_end)
    }

    #[inline]
    fn enter(entry: &'a Entry, at_end: AtEnd) -> Self {
        entry.since.store(Monotonic::now().as_nanos(), Relaxed);
        LOCAL.with(|local| {
            entry.tid.store(local.tid(), Relaxed);
            Self {
                entry,
                outer: local.current.replace(entry.id),
                outer_scope: local.scope.replace(entry.scope),
                outer_has_made: local.has_made.replace(false),
                at_end,
            }
        })
    }
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        let since = match self.at_end {
            AtEnd::Restart => Monotonic::now().as_nanos(),
            AtEnd::Restore { since, outer } => {
                self.restore(|local| local.asked.set(outer));
                since
            }
        };
        self.entry.since.store(since, Relaxed);
        self.entry.tid.store(0, Relaxed);
        self.restore(|local| {
            local.current.set(self.outer);
            local.scope.set(self.outer_scope);
            if local.has_made.replace(self.outer_has_made) {
                self.entry.has_made.store(true, Relaxed);
            }
        });
    }
}

impl Polling<'_> {
    /// Puts back what this thread knew before the poll, if it is the same thread: a poll on a
    /// coroutine's stack may have been suspended and resumed on another thread.
    #[inline]
    fn restore(&self, put_back: impl FnOnce(&Local)) {
        LOCAL.with(|local| {
            if local.current.get() == self.entry.id {
                put_back(local);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, pending},
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Wake},
    };

    use super::Entry;
    use crate::{Track, Tracked};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_poll_whose_waker_could_not_be_kept_is_followed_by_another() {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(pending::<()>().tracked("waits"));
        let entry = Arc::clone(future.entry());
        // Like a dump that asks the task during its first poll.
        let looking = entry.lock_waker();
        assert!(future.as_mut().poll(&mut context).is_pending());
        drop(looking);
        assert!(entry.executor_waker().is_none());
        assert_eq!(wakes.0.load(Relaxed), 1);
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert!(
            entry
                .executor_waker()
                .is_some_and(|kept| kept.will_wake(&waker))
        );
        assert_eq!(wakes.0.load(Relaxed), 1);
    }

    #[test]
    fn a_tracked_future_takes_at_most_192_bytes_more() {
        let counts = 2 * size_of::<usize>();
        let wrapper = size_of::<Tracked<()>>();
        let place_in_registry = size_of::<usize>();
        let all = size_of::<Entry>() + counts + wrapper + place_in_registry;
        assert!(all <= 192, "{all}");
    }
}
