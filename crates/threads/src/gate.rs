//! Where held threads wait: a gate, and a fixed number of static places that are never freed.
//!
//! The gate is a futex. Its number is odd while a hold lasts and even while none does; a thread whose
//! signal carries another number goes on at once. It opens by a change of the number, or for each thread
//! by itself when the time is up.
//!
//! A place goes FREE → CALLED (holding thread) → WRITING → HELD → LEFT (handler), in a word that also has
//! the number of the hold. A handler that comes late thus finds nothing to do, and one that is slow to
//! leave changes nothing for the next hold. Only a place that is WRITING can't be used again.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sys::{self, Woken};
use crate::{HeldRegisters, Tid};

/// How many threads can be held.
pub(crate) const PLACES: usize = 4096;

static ALL: [Place; PLACES] = [const { Place::new() }; PLACES];
static GATE: AtomicU32 = AtomicU32::new(0);
/// When the time is up, by the monotonic clock, in nanoseconds.
static UNTIL: AtomicU64 = AtomicU64::new(0);
/// Counts the threads that came to wait, in all holds.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// The count of `ARRIVED` at which the holding thread is woken.
static WANTED: AtomicU32 = AtomicU32::new(0);

const PHASE_BITS: u32 = 3;
const FREE: u64 = 0;
const CALLED: u64 = 1;
const WRITING: u64 = 2;
const HELD: u64 = 3;
const LEFT: u64 = 4;

/// Calls one thread to its place: what the signal carries. Magic (16 bits), number of the hold (32),
/// place (16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass(u64);

impl Pass {
    const MAGIC: u64 = 0x72_68;

    fn new(hold: u32, place: u16) -> Self {
        Self(Self::MAGIC << 48 | u64::from(hold) << 16 | u64::from(place))
    }

    /// The pass of a signal, if it is one of ours.
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw >> 48 == Self::MAGIC).then_some(Self(raw))
    }

    /// What to send.
    pub(crate) fn as_raw(self) -> u64 {
        self.0
    }

    fn hold(self) -> u32 {
        (self.0 >> 16) as u32
    }

    fn place(self) -> Option<&'static Place> {
        ALL.get((self.0 & 0xffff) as usize)
    }

    fn state(self, phase: u64) -> u64 {
        u64::from(self.hold()) << PHASE_BITS | phase
    }
}

/// What a thread knows of the end of the stack that it was interrupted on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackHints {
    /// The end of its alternate signal stack if it was on that, 0 otherwise.
    pub(crate) alternate_end: u64,
    /// Lies behind its own stack, with pthreads.
    pub(crate) thread_pointer: u64,
}

/// Room for what one thread tells.
struct Place {
    state: AtomicU64,
    tid: AtomicI32,
    ip: AtomicU64,
    sp: AtomicU64,
    bp: AtomicU64,
    rbx: AtomicU64,
    r12: AtomicU64,
    r13: AtomicU64,
    r14: AtomicU64,
    r15: AtomicU64,
    alternate_end: AtomicU64,
    thread_pointer: AtomicU64,
}

impl Place {
    const fn new() -> Self {
        Self {
            state: AtomicU64::new(FREE),
            tid: AtomicI32::new(0),
            ip: AtomicU64::new(0),
            sp: AtomicU64::new(0),
            bp: AtomicU64::new(0),
            rbx: AtomicU64::new(0),
            r12: AtomicU64::new(0),
            r13: AtomicU64::new(0),
            r14: AtomicU64::new(0),
            r15: AtomicU64::new(0),
            alternate_end: AtomicU64::new(0),
            thread_pointer: AtomicU64::new(0),
        }
    }

    fn change(&self, pass: Pass, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(
                pass.state(from),
                pass.state(to),
                Ordering::SeqCst,
                Ordering::SeqCst,
            )
            .is_ok()
    }

    fn write(&self, registers: HeldRegisters, hints: StackHints) {
        self.ip.store(registers.ip, Ordering::Relaxed);
        self.sp.store(registers.sp, Ordering::Relaxed);
        self.bp.store(registers.bp, Ordering::Relaxed);
        self.rbx.store(registers.rbx, Ordering::Relaxed);
        self.r12.store(registers.r12, Ordering::Relaxed);
        self.r13.store(registers.r13, Ordering::Relaxed);
        self.r14.store(registers.r14, Ordering::Relaxed);
        self.r15.store(registers.r15, Ordering::Relaxed);
        self.alternate_end
            .store(hints.alternate_end, Ordering::Relaxed);
        self.thread_pointer
            .store(hints.thread_pointer, Ordering::Relaxed);
    }

    fn read(&self) -> (HeldRegisters, StackHints) {
        let registers = HeldRegisters {
            ip: self.ip.load(Ordering::Relaxed),
            sp: self.sp.load(Ordering::Relaxed),
            bp: self.bp.load(Ordering::Relaxed),
            rbx: self.rbx.load(Ordering::Relaxed),
            r12: self.r12.load(Ordering::Relaxed),
            r13: self.r13.load(Ordering::Relaxed),
            r14: self.r14.load(Ordering::Relaxed),
            r15: self.r15.load(Ordering::Relaxed),
        };
        let hints = StackHints {
            alternate_end: self.alternate_end.load(Ordering::Relaxed),
            thread_pointer: self.thread_pointer.load(Ordering::Relaxed),
        };
        (registers, hints)
    }
}

/// The handler's duty to wait in one place.
pub(crate) struct Visit {
    place: &'static Place,
    pass: Pass,
}

/// Takes the place that `pass` names, if the hold still wants this thread there. Async-signal-safe, as is
/// [`Visit::wait`].
pub(crate) fn enter(pass: Pass, tid: Tid) -> Option<Visit> {
    let place = pass.place()?;
    let is_called = place.tid.load(Ordering::Acquire) == tid.as_raw();
    (is_called && place.change(pass, CALLED, WRITING)).then_some(Visit { place, pass })
}

impl Visit {
    /// Waits until the gate opens or the time is up.
    pub(crate) fn wait(self, registers: HeldRegisters, hints: StackHints) {
        let Self { place, pass } = self;
        place.write(registers, hints);
        place.state.store(pass.state(HELD), Ordering::SeqCst);
        let arrived = ARRIVED.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        if arrived == WANTED.load(Ordering::SeqCst) {
            sys::wake(&ARRIVED);
        }
        // While the gate has this number, the time is that of this hold.
        let until = UNTIL.load(Ordering::SeqCst);
        while GATE.load(Ordering::SeqCst) == pass.hold() {
            match sys::wait_until(&GATE, pass.hold(), until) {
                Woken::LookAgain => {}
                Woken::GiveUp => break,
            }
        }
        // The next hold may have given the place to another.
        place.change(pass, HELD, LEFT);
    }
}

/// The closed gate; dropping it lets all go on.
pub(crate) struct Gate {
    hold: u32,
    next_place: u16,
}

/// Where a called thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On its way.
    Called,
    /// It waits.
    Held,
    /// It went on: the time was up.
    Left,
}

impl Gate {
    /// Closes it until `until`. Only with the turn.
    pub(crate) fn close(until: Instant) -> Self {
        UNTIL.store(sys::monotonic(until), Ordering::SeqCst);
        let hold = GATE.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        Self {
            hold,
            next_place: 0,
        }
    }

    /// Assigns a place; `None` when there is no more.
    pub(crate) fn call(&mut self, tid: Tid) -> Option<Pass> {
        loop {
            let pass = Pass::new(self.hold, self.next_place);
            let place = pass.place()?;
            self.next_place += 1;
            let former = place.state.load(Ordering::SeqCst);
            if former & ((1 << PHASE_BITS) - 1) != WRITING {
                place.tid.store(tid.as_raw(), Ordering::Release);
                // A late handler may still take the former call; the place is then its, to write in.
                let called = place.state.compare_exchange(
                    former,
                    pass.state(CALLED),
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                );
                if called.is_ok() {
                    return Some(pass);
                }
            }
        }
    }

    /// Where the thread with this pass is.
    pub(crate) fn standing(&self, pass: Pass) -> Standing {
        match pass.place().map(|it| it.state.load(Ordering::SeqCst)) {
            Some(state) if state == pass.state(HELD) => Standing::Held,
            Some(state) if state == pass.state(LEFT) => Standing::Left,
            _ => Standing::Called,
        }
    }

    /// What the thread with this pass told. Only while it is held.
    pub(crate) fn told(&self, pass: Pass) -> Option<(HeldRegisters, StackHints)> {
        pass.place().map(Place::read)
    }

    /// Whether it is closed still.
    pub(crate) fn is_closed(&self) -> bool {
        GATE.load(Ordering::SeqCst) == self.hold
    }

    /// A count to hand to [`Gate::wait`]; taken before looking at places.
    pub(crate) fn arrived(&self) -> u32 {
        ARRIVED.load(Ordering::SeqCst)
    }

    /// Sleeps until `more` threads have come since the count was `seen`, or until `until`.
    pub(crate) fn wait(&self, seen: u32, more: u32, until: Instant) {
        WANTED.store(seen.wrapping_add(more), Ordering::SeqCst);
        let have_come = || {
            let arrived = ARRIVED.load(Ordering::SeqCst);
            (arrived.wrapping_sub(seen) < more).then_some(arrived)
        };
        while let Some(arrived) = have_come() {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return;
            }
            // Only the last one wakes us; those that came before the call make it return at once.
            sys::wait(&ARRIVED, arrived, left);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // In a forked child, the gate has been opened already.
        let opened = GATE.compare_exchange(
            self.hold,
            self.hold.wrapping_add(1),
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        if opened.is_ok() {
            sys::wake(&GATE);
        }
    }
}

/// Opens the gate in a forked child, where no thread waits. Async-signal-safe.
///
/// A place that a handler was about to fill stays out of use there.
pub(crate) fn reset() {
    let number = GATE.load(Ordering::SeqCst);
    if number % 2 == 1 {
        GATE.store(number.wrapping_add(1), Ordering::SeqCst);
    }
}
