//! A probed poll, on the thread that polls.
#![expect(
    unsafe_code,
    reason = "threads find their probes through a list of pointers into their own stack"
)]

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    ptr,
    sync::{Arc, atomic::Ordering::Acquire},
    task::{Context, Poll, Waker},
};

use rtops_step::{Refusal, Stepper};

use super::{
    arch::Registers,
    session::{Session, Stale, Verdict, Work},
    slots::{Extent, MAX_OWNERS, Owner},
    ticket::{Cause, DumpNumber, ECHO_INDEX, MAX_HOPS, Wish},
    waker::{is_probing, probing_waker, same_waker},
};
use crate::{
    entry::{Entry, Polling, RuntimeTag, TaskId, WakerId},
    local::LOCAL,
    tracked::{Part, first_poll, poll_ordinary},
};

/// How many stacks of one poll are copied; a `join_all` of more shows its first ones.
const MAX_CAPTURES: u32 = 64;
/// How far up the list of probes on this thread a clone looks.
const MAX_DEPTH: usize = 64;

/// One probed poll under way on this thread. It lies in the stack frame of [`poll_probed`], and
/// its own address tells where the probed future's frames end.
pub(crate) struct Frame {
    entry: *const Entry,
    id: TaskId,
    index: Option<u32>,
    role: Role,
    cause: Cause,
    outer: Cell<*const Self>,
    captures: Cell<u32>,
    no_room: Cell<bool>,
    not_stepped: Cell<Option<Refusal>>,
}

enum Role {
    /// This future is polled with a probing waker of its own.
    Probe(Arc<Session>),
    /// This future is a span in a probed one and is polled with the other's waker.
    Span,
}

/// Whether the next poll of `entry` is to go through [`poll_probed`].
#[inline]
pub(crate) fn is_wanted(entry: &Entry) -> bool {
    entry.ticket.is_some() || LOCAL.with(|local| !local.probe.get().is_null())
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
        // Also for one whose first poll came before anybody could tell the runtime.
        first_poll(entry);
    }
    if !entry.keep_waker(last_waker, context.waker()) {
        // The probing waker would lead to an older executor waker. The next poll will do.
        entry.ticket.put_back(wish);
        return poll_ordinary(future, entry, last_waker, context);
    }
    let waker = probing_waker(entry);
    if session.stale == Stale::Cleared {
        clear_stack_below();
    }
    let frame = Frame::new(entry, Some(wish.index), Role::Probe(session), wish.cause);
    let poll = frame.poll(future, entry, &mut Context::from_waker(&waker));
    drop(waker);
    frame.report(&poll, entry, wish, part);
    poll
}

/// Polls a task that a dump has woken through something inside it. The waker stays that of its
/// probe, so that the next such wake is noticed, too.
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

/// Polls a span whose parent has handed a probing waker down.
fn poll_span<F: Future>(
    future: Pin<&mut F>,
    entry: &Arc<Entry>,
    wish: Option<Wish>,
    last_waker: &mut WakerId,
    context: &mut Context<'_>,
    part: &impl Fn(&F::Output) -> Part,
) -> Poll<F::Output> {
    let Some(cause) = probed_for(context.waker()) else {
        // The parent was only nudged: nothing is copied, so this poll proves nothing.
        if let Some(wish) = wish {
            entry.ticket.put_back(wish);
        }
        return poll_ordinary(future, entry, last_waker, context);
    };
    if entry.polls() == 0 {
        first_poll(entry);
    }
    let frame = Frame::new(entry, wish.map(|wish| wish.index), Role::Span, cause);
    let poll = frame.poll(future, entry, context);
    if let Some((wish, session)) = wish.and_then(|wish| Some((wish, Session::of(wish)?))) {
        session.note_inside(wish.index);
        frame.report_to(&session, &poll, entry, wish, part);
    }
    poll
}

/// Why the future that `waker` belongs to is being probed on this thread, if it is.
fn probed_for(waker: &Waker) -> Option<Cause> {
    let mut at = LOCAL.with(|local| local.probe.get());
    for _ in 0..MAX_DEPTH {
        // SAFETY: it comes from this thread's list, whose frames are alive, see `Pushed`.
        let frame = unsafe { at.as_ref() }?;
        if matches!(frame.role, Role::Probe(_)) && frame.entry.cast() == waker.data() {
            return Some(frame.cause);
        }
        at = frame.outer.get();
    }
    None
}

/// Overwrites what earlier calls left just below the caller's frame, so that a copy of the stack
/// holds there what this poll put there. Small enough for any stack that can take a poll.
#[inline(never)]
fn clear_stack_below() {
    const WORDS: usize = 1024;
    std::hint::black_box(&mut [0_u64; WORDS]);
}

impl Frame {
    fn new(entry: &Entry, index: Option<u32>, role: Role, cause: Cause) -> Self {
        Self {
            entry,
            id: entry.id(),
            index,
            role,
            cause,
            outer: Cell::new(ptr::null()),
            captures: Cell::new(0),
            no_room: Cell::new(false),
            not_stepped: Cell::new(None),
        }
    }

    fn poll<F: Future>(
        &self,
        future: Pin<&mut F>,
        entry: &Entry,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let _polling = match self.cause {
            Cause::Natural => Polling::begin(entry),
            Cause::Asked => Polling::begin_asked(entry, MAX_HOPS),
        };
        let _pushed = Pushed::new(self);
        let Some((stepper, index)) = self.stepper() else {
            return future.poll(context);
        };
        let (poll, stepped) = stepper.step(index, || future.poll(context));
        self.not_stepped.set(stepped.err());
        poll
    }

    /// Where the dump wants this poll stepped: by what, and its number there.
    fn stepper(&self) -> Option<(&Stepper, u32)> {
        match &self.role {
            Role::Probe(session) => match &session.work {
                Work::Step(stepper) => Some((stepper, self.index?)),
                Work::Copy(_) => None,
            },
            Role::Span => None,
        }
    }

    fn report<T>(&self, poll: &Poll<T>, entry: &Entry, wish: Wish, part: &impl Fn(&T) -> Part) {
        if let Role::Probe(session) = &self.role {
            if poll.is_pending() && self.captures.get() > 0 {
                entry.note_registered();
                if self.cause == Cause::Asked {
                    entry.ticket.leave_echo();
                }
            }
            self.report_to(session, poll, entry, wish, part);
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
        let refusal = self.not_stepped.get();
        if let (Some(index), Some(refusal)) = (self.index, refusal) {
            session.refuse(index, refusal);
        }
        let verdict = match poll {
            Poll::Ready(output) if part(output) == Part::More => {
                // Where it waits, the poll of the next part will show, which often follows at once.
                if self.captures.get() == 0 && !self.no_room.get() {
                    return entry.ticket.put_back(wish);
                }
                // Places where the part before waited must not be taken for its.
                Verdict::NoRoom
            }
            Poll::Ready(_) => Verdict::Ended,
            Poll::Pending if refusal == Some(Refusal::Busy) => Verdict::NoRoom,
            Poll::Pending if self.no_room.get() => Verdict::NoRoom,
            Poll::Pending if self.captures.get() == 0 => Verdict::WaitsUnregistered,
            Poll::Pending if self.captures.get() > MAX_CAPTURES => Verdict::WaitsInMore,
            Poll::Pending => Verdict::Waits,
        };
        if let Some(index) = self.index {
            session.finish(index, verdict, entry.polls());
        }
    }

    fn owner(&self) -> Option<Owner> {
        Some(Owner {
            index: self.index? as usize,
            id: self.id,
            base: ptr::from_ref(self).addr() as u64,
        })
    }
}

/// A frame in this thread's list, taken off when dropped.
///
/// `Frame::poll` makes it after the frame and drops it before, also when the poll panics, and a
/// frame does not move while it is borrowed. So every pointer in the list is valid while it is
/// there, and the list is only read by its own thread.
struct Pushed<'a>(&'a Frame);

impl<'a> Pushed<'a> {
    #[inline(always)]
    fn new(frame: &'a Frame) -> Self {
        LOCAL.with(|local| frame.outer.set(local.probe.replace(frame)));
        Self(frame)
    }
}

impl Drop for Pushed<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        LOCAL.with(|local| local.probe.set(self.0.outer.get()));
    }
}

/// Copies the stack of this thread, if it is polling `entry` for a dump.
///
/// Runs inside `Waker::clone`: no allocation, no lock, no path that panics.
pub(super) fn capture(entry: &Entry, registers: Option<Registers>) {
    let Some(registers) = registers else {
        return;
    };
    let mut spans = Spans::default();
    let mut at = LOCAL.with(|local| local.probe.get());
    for _ in 0..MAX_DEPTH {
        // SAFETY: it comes from this thread's list, whose frames are alive, see `Pushed`.
        let Some(frame) = (unsafe { at.as_ref() }) else {
            return;
        };
        match &frame.role {
            Role::Span => spans.push(frame),
            Role::Probe(session) if ptr::eq(frame.entry, entry) => {
                frame.copy_stack(session, registers, &spans);
                return;
            }
            // The spans so far are those of another probed future, inside this one.
            Role::Probe(_) => spans = Spans::default(),
        }
        at = frame.outer.get();
    }
}

/// The spans between an await point and the root of the probed future, the innermost first.
#[derive(Default)]
struct Spans<'a> {
    frames: [Option<&'a Frame>; MAX_OWNERS - 1],
    count: usize,
}

impl<'a> Spans<'a> {
    fn push(&mut self, frame: &'a Frame) {
        if let Some(place) = self.frames.get_mut(self.count) {
            *place = Some(frame);
            self.count += 1;
        }
    }
}

impl Frame {
    fn copy_stack(&self, session: &Session, registers: Registers, spans: &Spans<'_>) {
        if self.captures.get() >= MAX_CAPTURES {
            self.captures.set(MAX_CAPTURES + 1);
            return;
        }
        let Work::Copy(slots) = &session.work else {
            // An earlier probe of this dump has the copies.
            self.captures.set(self.captures.get() + 1);
            return;
        };
        let mut extent = Extent {
            owners: [Owner::NONE; MAX_OWNERS],
            owner_count: 0,
            end: ptr::from_ref(self).addr() as u64,
        };
        let own = std::iter::once(self).chain(spans.frames.iter().flatten().copied());
        for owner in own.clone().filter_map(Self::owner) {
            if let Some(place) = extent.owners.get_mut(extent.owner_count) {
                *place = owner;
                extent.owner_count += 1;
            }
        }
        // SAFETY: the registers were read in `Waker::clone` on this thread, which has not
        // returned, and this frame lies above it in the same stack, as it is in the list.
        if unsafe { slots.copy(registers, &extent) } {
            for frame in own {
                frame.captures.set(frame.captures.get() + 1);
            }
        } else {
            for frame in own {
                frame.no_room.set(true);
            }
        }
    }
}
