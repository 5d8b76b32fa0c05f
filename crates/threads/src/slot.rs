//! The places where handlers leave their copies: a fixed number of
//! static slots that are never freed.
//!
//! A slot goes IDLE → ARMED (capturing thread) → WRITING → DONE (handler) → IDLE. On a time-out the
//! capturing thread takes ARMED back to IDLE. Each step away from ARMED is a compare-and-swap on a
//! word that also holds the sequence number of the request, so a late signal, whose cookie carries
//! an older number, has no effect. A slot that is WRITING belongs to the handler for as long as it
//! takes. A session that can't wait leaves it, and later sessions do without it until it is DONE.
#![expect(
    unsafe_code,
    reason = "buffers and a table shared with a signal handler"
)]

use std::{
    io,
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use rtops_types::{StackRegisters, StackSlice};

use crate::{
    Tid,
    sys::{self, MapTable},
    turn::Turn,
};

/// The number of threads that can be in flight at once.
pub(crate) const SLOTS: usize = 32;
/// The longest copy, in bytes.
pub(crate) const BUFFER_LEN: usize = 512 << 10;

static ALL: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
/// `SLOTS * BUFFER_LEN` bytes, mapped by the first session.
static BUFFERS: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// The number of answers; capturing threads sleep on it.
static ANSWERS: AtomicU32 = AtomicU32::new(0);
static NEXT_SEQUENCE: AtomicU64 = AtomicU64::new(1);

const PHASE: u64 = 0b11;
const IDLE: u64 = 0;
const ARMED: u64 = 1;
const WRITING: u64 = 2;
const DONE: u64 = 3;

/// Identifies one request; the signal carries it. Magic (16 bits), sequence number (40), slot (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie(u64);

impl Cookie {
    const MAGIC: u64 = 0x72_74;
    const SEQUENCE_MASK: u64 = (1 << 40) - 1;

    fn new(slot: usize, sequence: u64) -> Self {
        Self(Self::MAGIC << 48 | (sequence & Self::SEQUENCE_MASK) << 8 | slot as u64)
    }

    /// Returns the cookie of a signal, if it is one of ours.
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw >> 48 == Self::MAGIC).then_some(Self(raw))
    }

    /// Returns the value to send.
    pub(crate) fn as_raw(self) -> u64 {
        self.0
    }

    fn slot(self) -> Option<&'static Slot> {
        ALL.get(self.index())
    }

    fn index(self) -> usize {
        (self.0 & 0xff) as usize
    }

    fn state(self, phase: u64) -> u64 {
        (self.0 >> 8 & Self::SEQUENCE_MASK) << 2 | phase
    }
}

/// How much of the stack was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Up to its end.
    Whole,
    /// Up to the capacity that was asked for.
    Capped,
    /// Nothing: the stack pointer is in no known mapping, or its memory can't be read.
    UnknownStack,
}

/// One slot. Every field but `state` is written by the owner of the slot in its current phase.
struct Slot {
    state: AtomicU64,
    tid: AtomicI32,
    capacity: AtomicUsize,
    /// From `Arc::into_raw`; replaced only while the slot isn't WRITING.
    maps: AtomicPtr<MapTable>,
    ip: AtomicU64,
    sp: AtomicU64,
    bp: AtomicU64,
    len: AtomicUsize,
    extent: AtomicU32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            state: AtomicU64::new(IDLE),
            tid: AtomicI32::new(0),
            capacity: AtomicUsize::new(0),
            maps: AtomicPtr::new(ptr::null_mut()),
            ip: AtomicU64::new(0),
            sp: AtomicU64::new(0),
            bp: AtomicU64::new(0),
            len: AtomicUsize::new(0),
            extent: AtomicU32::new(0),
        }
    }

    fn phase(&self) -> u64 {
        self.state.load(Ordering::Acquire) & PHASE
    }

    fn change(&self, cookie: Cookie, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(
                cookie.state(from),
                cookie.state(to),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }

    /// Replaces the table and drops the former one. Only call this while
    /// no handler can be using it.
    fn set_maps(&self, maps: *const MapTable) {
        let former = self.maps.swap(maps.cast_mut(), Ordering::AcqRel);
        if !former.is_null() {
            // SAFETY: it came from `Arc::into_raw` in `arm`, and the swap makes this
            // the only drop. The callers have checked that the slot is neither
            // WRITING nor ARMED, so no handler uses it.
            drop(unsafe { Arc::from_raw(former) });
        }
    }
}

/// The handler's right to fill one slot.
pub(crate) struct Claim {
    slot: &'static Slot,
    cookie: Cookie,
}

/// Claims the slot that `cookie` names if its request is still open and meant for this thread.
/// Async-signal-safe, as are the methods of [`Claim`].
pub(crate) fn claim(cookie: Cookie, tid: Tid) -> Option<Claim> {
    let slot = cookie.slot()?;
    // Reading the TID of a later request here is harmless: the cookie's number is stale then.
    let is_addressee = slot.tid.load(Ordering::Acquire) == tid.as_raw();
    (is_addressee && slot.change(cookie, ARMED, WRITING)).then_some(Claim { slot, cookie })
}

impl Claim {
    /// Returns how many bytes may be copied.
    pub(crate) fn capacity(&self) -> usize {
        self.slot.capacity.load(Ordering::Relaxed).min(BUFFER_LEN)
    }

    /// Returns where to copy them.
    pub(crate) fn destination(&self) -> *mut u8 {
        buffer(BUFFERS.load(Ordering::Acquire), self.cookie.index())
    }

    /// Returns the mappings as they were shortly before the signal was sent.
    pub(crate) fn maps(&self) -> Option<&MapTable> {
        // SAFETY: null or from `Arc::into_raw`, and not dropped while the slot is WRITING.
        unsafe { self.slot.maps.load(Ordering::Acquire).as_ref() }
    }

    /// Hands the copy over and wakes the capturing thread.
    pub(crate) fn publish(self, registers: StackRegisters, len: usize, extent: Extent) {
        self.slot.ip.store(registers.ip, Ordering::Relaxed);
        self.slot.sp.store(registers.sp, Ordering::Relaxed);
        self.slot.bp.store(registers.bp, Ordering::Relaxed);
        self.slot.len.store(len, Ordering::Relaxed);
        self.slot.extent.store(extent as u32, Ordering::Relaxed);
        self.slot
            .state
            .store(self.cookie.state(DONE), Ordering::Release);
        ANSWERS.fetch_add(1, Ordering::Release);
        sys::wake(&ANSWERS);
    }
}

fn buffer(buffers: *mut u8, index: usize) -> *mut u8 {
    buffers.wrapping_add(index * BUFFER_LEN)
}

/// The right to arm and read slots. At most one exists.
pub(crate) struct Session {
    buffers: NonNull<u8>,
    /// Dropped after the session's own `drop`.
    _turn: Turn,
}

/// Why no session could start.
pub(crate) enum NoSession {
    /// Another session lasted until the deadline.
    Busy,
    /// There is no memory for the buffers.
    Memory(io::Error),
}

/// The state of a request.
pub(crate) enum Progress<'a> {
    /// The handler has not answered yet.
    Open,
    /// The handler has answered.
    Answered(Answer<'a>),
}

/// A handler's answer, borrowed from its slot.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) stack: StackSlice<'a>,
    pub(crate) extent: Extent,
}

impl Session {
    /// Waits for its turn until `deadline`.
    pub(crate) fn begin(deadline: Instant) -> Result<Self, NoSession> {
        let turn = Turn::begin(deadline).ok_or(NoSession::Busy)?;
        let buffers = match NonNull::new(BUFFERS.load(Ordering::Acquire)) {
            Some(buffers) => buffers,
            None => {
                let buffers = sys::map(SLOTS * BUFFER_LEN).map_err(NoSession::Memory)?;
                BUFFERS.store(buffers.as_ptr(), Ordering::Release);
                buffers
            }
        };
        Ok(Self {
            buffers,
            _turn: turn,
        })
    }

    /// Opens a request in this slot; `None` while a handler of an
    /// earlier request still writes to it.
    pub(crate) fn arm(
        &mut self,
        index: usize,
        tid: Tid,
        capacity: usize,
        maps: &Arc<MapTable>,
    ) -> Option<Request> {
        let slot = ALL.get(index)?;
        if !matches!(slot.phase(), IDLE | DONE) {
            return None;
        }
        let cookie = Cookie::new(index, NEXT_SEQUENCE.fetch_add(1, Ordering::Relaxed));
        slot.set_maps(Arc::into_raw(Arc::clone(maps)));
        slot.capacity.store(capacity, Ordering::Relaxed);
        slot.tid.store(tid.as_raw(), Ordering::Release);
        slot.state.store(cookie.state(ARMED), Ordering::Release);
        Some(Request { cookie })
    }

    /// Returns the state of a request.
    pub(crate) fn progress(&self, request: &Request) -> Progress<'_> {
        let Some(slot) = request.cookie.slot() else {
            return Progress::Open;
        };
        if slot.state.load(Ordering::Acquire) != request.cookie.state(DONE) {
            return Progress::Open;
        }
        let len = slot.len.load(Ordering::Relaxed).min(BUFFER_LEN);
        let start = buffer(self.buffers.as_ptr(), request.cookie.index());
        // SAFETY: the buffer has BUFFER_LEN initialized (mapped) bytes. DONE means that the handler
        // has finished, and none will write there before `arm`, which needs `&mut self`.
        let bytes = unsafe { slice::from_raw_parts(start, len) };
        let extent = match slot.extent.load(Ordering::Relaxed) {
            extent if extent == Extent::Whole as u32 => Extent::Whole,
            extent if extent == Extent::Capped as u32 => Extent::Capped,
            _ => Extent::UnknownStack,
        };
        let registers = StackRegisters {
            ip: slot.ip.load(Ordering::Relaxed),
            sp: slot.sp.load(Ordering::Relaxed),
            bp: slot.bp.load(Ordering::Relaxed),
        };
        let stack = StackSlice { registers, bytes };
        Progress::Answered(Answer { stack, extent })
    }

    /// Cancels a request. If a handler has begun to answer it, the slot stays the handler's.
    pub(crate) fn cancel(&mut self, request: Request) {
        if let Some(slot) = request.cookie.slot() {
            slot.change(request.cookie, ARMED, IDLE);
        }
    }

    /// Returns a number to pass to [`Session::wait`]; call this before checking requests.
    pub(crate) fn answers(&self) -> u32 {
        ANSWERS.load(Ordering::Acquire)
    }

    /// Sleeps until there are more than `seen` answers, or until `until`.
    pub(crate) fn wait(&self, seen: u32, until: Instant) {
        sys::wait(
            &ANSWERS,
            seen,
            until.saturating_duration_since(Instant::now()),
        );
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut all_free = true;
        for slot in &ALL {
            let state = slot.state.load(Ordering::Acquire);
            if state & PHASE == ARMED {
                let idle = state & !PHASE;
                // A handler that comes first makes it WRITING.
                slot.state
                    .compare_exchange(state, idle, Ordering::AcqRel, Ordering::Acquire)
                    .ok();
            }
            if slot.phase() == WRITING {
                all_free = false;
            } else {
                slot.set_maps(ptr::null());
            }
        }
        if all_free && BUFFERS.load(Ordering::Acquire) == self.buffers.as_ptr() {
            sys::discard(self.buffers, SLOTS * BUFFER_LEN);
        }
    }
}

/// An open request. It is answered or cancelled; a remaining one ends with the session.
pub(crate) struct Request {
    cookie: Cookie,
}

impl Request {
    /// Returns the cookie to send with the signal.
    pub(crate) fn cookie(&self) -> Cookie {
        self.cookie
    }
}

/// Closes the requests that were open when this process was forked. Async-signal-safe.
pub(crate) fn reset() {
    for slot in &ALL {
        slot.state.fetch_and(!PHASE, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
