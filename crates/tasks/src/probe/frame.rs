//! A probed poll, as seen by the thread that polls.

use std::{
    future::Future,
    pin::Pin,
    ptr,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Waker},
};

use super::{
    capture::MAX_CAPTURES,
    list::{self, Listed},
    session::{Session, Stale, Verdict},
    slots::Owner,
    stacks,
    ticket::{Cause, DumpNumber, ECHO_INDEX, MAX_HOPS, Wish},
    waker::{is_probing, probing_waker, same_waker},
};
use crate::{
    entry::{Entry, Polling, RuntimeTag, TaskId, WakerId},
    local::LOCAL,
    tracked::{Part, first_poll, poll_ordinary},
};

/// A probed poll under way.
///
/// It is on the heap, and everything that changes is atomic: a poll on a coroutine's stack may be
/// suspended and resumed on another thread or never, while threads still have it in their lists.
pub(crate) struct Frame {
    /// The address of the entry that is polled. Only compared.
    entry: usize,
    /// The address of the entry whose probing waker is used: its own, or for a span that of the
    /// future around it. Only compared.
    probe: usize,
    id: TaskId,
    index: Option<u32>,
    cause: Cause,
    /// Only the driver keeps a session alive: a poll that never ends would keep it forever.
    session: Weak<Session>,
    /// An address in the stack frame of the function that polls, where the future's own frames end.
    base: AtomicU64,
    captures: AtomicU32,
    no_room: AtomicBool,
    has_ended: AtomicBool,
    has_moved: AtomicBool,
}

/// Whether the next poll of `entry` must go through [`poll_probed`].
#[inline]
pub(crate) fn is_wanted(entry: &Entry, waker: &Waker) -> bool {
    entry.ticket.is_some() || is_probing(waker)
}

/// Polls with a probing waker, if a dump still wants it.
#[cold]
#[inline(never)]
pub(crate) fn poll_probed<F: Future>(
    future: Pin<&mut F>,
    entry: &Arc<Entry>,
    last_waker: &mut WakerId,
    context: &mut Context<'_>,
    part: &impl Fn(&F::Output) -> Part,
) -> Poll<F::Output> {
    let wish = entry.ticket.take();
    if is_probing(context.waker()) {
        let wish = wish.filter(|wish| wish.dump != DumpNumber::NONE);
        return poll_span(future, entry, wish, last_waker, context, part);
    }
    if let Some(nudge) = wish.filter(|wish| wish.dump == DumpNumber::NONE) {
        return match nudge.index {
            ECHO_INDEX if entry.woken.load(Acquire) => {
                poll_ordinary(future, entry, last_waker, context)
            }
            ECHO_INDEX => {
                let poll = poll_nudged(future, entry, 0, last_waker, context);
                if poll.is_pending() {
                    entry.ticket.leave_echo();
                }
                poll
            }
            hops => poll_nudged(future, entry, hops, last_waker, context),
        };
    }
    let session = wish.and_then(Session::of);
    let (Some(wish), Some(session)) = (wish, session) else {
        return poll_ordinary(future, entry, last_waker, context);
    };
    if entry.polls() == 0 || entry.runtime() == RuntimeTag::default() {
        // Also if the first poll came before anybody could say which runtime it is.
        first_poll(entry);
    }
    if !entry.keep_waker(last_waker, context.waker()) {
        // The probing waker would lead to an older executor waker. Wait for the next poll.
        entry.ticket.put_back(wish);
        return poll_ordinary(future, entry, last_waker, context);
    }
    let waker = probing_waker(entry);
    let is_own_stack = LOCAL.with(stacks::look);
    // On another stack, nobody knows how much room there is.
    if session.stale == Stale::Cleared && is_own_stack {
        clear_stack_below();
    }
    let frame = Frame::new(
        entry,
        &waker,
        Some(wish.index),
        wish.cause,
        Arc::downgrade(&session),
    );
    // If the poll is suspended forever, the memory for copies must not stay as long.
    drop(session);
    let poll = frame.poll(entry, || future.poll(&mut Context::from_waker(&waker)));
    drop(waker);
    frame.report(&poll, entry, wish, part);
    poll
}

/// Polls a task that a dump has woken through something inside it. The waker stays that of its
/// probe, so that the next such wake is noticed too.
fn poll_nudged<F: Future>(
    future: Pin<&mut F>,
    entry: &Arc<Entry>,
    hops: u32,
    last_waker: &mut WakerId,
    context: &mut Context<'_>,
) -> Poll<F::Output> {
    if !entry.keep_waker(last_waker, context.waker()) {
        return poll_ordinary(future, entry, last_waker, context);
    }
    let waker = same_waker(entry);
    let _polling = Polling::begin_asked(entry, hops);
    future.poll(&mut Context::from_waker(&waker))
}

/// Polls a span whose parent has handed down a probing waker.
fn poll_span<F: Future>(
    future: Pin<&mut F>,
    entry: &Arc<Entry>,
    wish: Option<Wish>,
    last_waker: &mut WakerId,
    context: &mut Context<'_>,
    part: &impl Fn(&F::Output) -> Part,
) -> Poll<F::Output> {
    let Some((cause, session)) = probed_for(context.waker()) else {
        // The parent was only nudged: nothing is copied, so this poll proves nothing.
        if let Some(wish) = wish {
            entry.ticket.put_back(wish);
        }
        return poll_ordinary(future, entry, last_waker, context);
    };
    if entry.polls() == 0 {
        first_poll(entry);
    }
    let index = wish.map(|wish| wish.index);
    let frame = Frame::new(entry, context.waker(), index, cause, session);
    let poll = frame.poll(entry, || future.poll(context));
    if let Some((wish, session)) = wish.and_then(|wish| Some((wish, Session::of(wish)?))) {
        session.note_inside(wish.index);
        frame.report_to(&session, &poll, entry, wish, part);
    }
    poll
}

/// Returns why, and for which dump, the future that `waker` belongs to is being probed on
/// this thread, if it is.
fn probed_for(waker: &Waker) -> Option<(Cause, Weak<Session>)> {
    let probe = waker.data().addr();
    LOCAL.with(|local| {
        list::find(local, |frame| {
            let is_its = frame.is_probe() && frame.is_polled_for(probe);
            is_its.then(|| (frame.cause, Weak::clone(&frame.session)))
        })
    })
}

/// Overwrites what earlier calls left just below the caller's frame, so that a copy of the stack
/// contains what this poll put there. Small enough for any thread that can do a poll.
#[inline(never)]
fn clear_stack_below() {
    const WORDS: usize = 1024;
    std::hint::black_box(&mut [0_u64; WORDS]);
}

impl Frame {
    fn new(
        entry: &Entry,
        waker: &Waker,
        index: Option<u32>,
        cause: Cause,
        session: Weak<Session>,
    ) -> Arc<Self> {
        Arc::new(Self {
            entry: ptr::from_ref(entry).addr(),
            probe: waker.data().addr(),
            id: entry.id(),
            index,
            cause,
            session,
            base: AtomicU64::new(0),
            captures: AtomicU32::new(0),
            no_room: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
        })
    }

    fn poll<R>(self: &Arc<Self>, entry: &Entry, poll: impl FnOnce() -> R) -> R {
        // The address of the caller's pointer, which is in the caller's own stack frame.
        self.base.store(ptr::from_ref(self).addr() as u64, Relaxed);
        let _polling = match self.cause {
            Cause::Natural => Polling::begin(entry),
            Cause::Asked => Polling::begin_asked(entry, MAX_HOPS),
        };
        let _listed = Listed::new(self);
        poll()
    }

    /// Whether its future is polled with its own probing waker.
    pub(super) const fn is_probe(&self) -> bool {
        self.entry == self.probe
    }

    /// Whether its future is polled with the probing waker of the entry at this address.
    pub(super) const fn is_polled_for(&self, probe: usize) -> bool {
        self.probe == probe
    }

    /// Whether nobody will ask for it anymore.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended.load(Acquire) || self.session.strong_count() == 0
    }

    /// Notes that its poll has ended, and whether that was on a thread that had it in its list.
    pub(super) fn end(&self, was_listed: bool) {
        self.has_moved.store(!was_listed, Relaxed);
        self.has_ended.store(true, Release);
    }

    /// Returns the dump that it is for, if that is still under way.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.upgrade()
    }

    pub(super) fn base(&self) -> u64 {
        self.base.load(Relaxed)
    }

    /// Whether another place where it waits may be copied.
    pub(super) fn has_room(&self) -> bool {
        self.captures.load(Relaxed) < MAX_CAPTURES
    }

    /// Notes that a place where it waits was copied, or needs no copy, or is one too many.
    pub(super) fn note_capture(&self) {
        self.captures.fetch_add(1, Relaxed);
    }

    /// Notes that there was no room to copy a place where it waits.
    pub(super) fn note_no_room(&self) {
        self.no_room.store(true, Relaxed);
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        Some(Owner {
            index: self.index? as usize,
            id: self.id,
            base: Some(self.base()),
        })
    }

    fn report<T>(&self, poll: &Poll<T>, entry: &Entry, wish: Wish, part: &impl Fn(&T) -> Part) {
        if poll.is_pending() && self.captures.load(Relaxed) > 0 {
            entry.note_registered();
            if self.cause == Cause::Asked {
                entry.ticket.leave_echo();
            }
        }
        if let Some(session) = self.session() {
            self.report_to(&session, poll, entry, wish, part);
        }
    }

    fn report_to<T>(
        &self,
        session: &Session,
        poll: &Poll<T>,
        entry: &Entry,
        wish: Wish,
        part: &impl Fn(&T) -> Part,
    ) {
        let captures = self.captures.load(Relaxed);
        let is_incomplete = self.no_room.load(Relaxed) || self.has_moved.load(Relaxed);
        let verdict = match poll {
            Poll::Ready(output) if part(output) == Part::More => {
                // The poll of the next part will show where it waits, and often follows at once.
                if captures == 0 && !is_incomplete {
                    return entry.ticket.put_back(wish);
                }
                // Places where the previous part waited must not be taken for those of
                // the next one.
                Verdict::NoRoom
            }
            Poll::Ready(_) => Verdict::Ended,
            Poll::Pending if is_incomplete => Verdict::NoRoom,
            Poll::Pending if captures == 0 => Verdict::WaitsUnregistered,
            Poll::Pending if captures > MAX_CAPTURES => Verdict::WaitsInMore,
            Poll::Pending => Verdict::Waits,
        };
        if let Some(index) = self.index {
            session.finish(index, verdict, entry.polls());
        }
    }
}
