//! Captures many threads: several in flight at once, each with a time-out, all by one deadline.

use std::{
    collections::VecDeque,
    ffi::c_int,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_types::StackSlice;

use crate::{
    Tid,
    list::Stat,
    slot::{Answer, BUFFER_LEN, Extent, NoSession, Progress, Request, SLOTS, Session},
    sys::{self, MapTable},
};

/// How long a single thread may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// When the signal is first sent again; the interval then doubles each time. A
/// thread that already had a pending signal of this number has lost ours, and only
/// sending again shows that a thread has ended.
const FIRST_RESEND: Duration = Duration::from_millis(10);
/// Most stacks are shorter than this; for the others, a second try uses the whole buffer.
const FIRST_CAPACITY: usize = 64 << 10;

/// How often threads that sleep with the signal blocked are checked again, after all
/// others. The first pause is `BLOCKED_PAUSE`, and it doubles each time: libc blocks
/// all signals for a moment when a thread starts.
const BLOCKED_LOOKS: u32 = 5;
const BLOCKED_PAUSE: Duration = Duration::from_millis(2);

/// The signal that interrupts threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(c_int);

impl Signal {
    /// SIGURG, the default: it is rarely used, and ignored if nobody handles it.
    pub const URGENT: Self = Self(libc::SIGURG);
    /// SIGUSR1. One that isn't ours ends the process, as usual, unless the host handles it.
    pub const USER_1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2; see [`Signal::USER_1`].
    pub const USER_2: Self = Self(libc::SIGUSR2);

    pub(crate) fn number(self) -> c_int {
        self.0
    }

    fn is_in(self, blocked: u64) -> bool {
        blocked >> (self.0 - 1) & 1 == 1
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::URGENT
    }
}

/// Why the handler couldn't be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Threads can't be captured on this platform.
    #[error("threads can be captured on Linux x86_64 only")]
    Unsupported,
    /// It is already installed for another signal, and stays so.
    #[error("the handler is already installed for another signal")]
    OtherSignal,
    /// The kernel refused.
    #[error("the signal handler could not be installed")]
    Refused(#[source] io::Error),
}

/// Why there is no copy of a thread's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// It ended.
    #[error("the thread has exited")]
    Exited,
    /// Its signal mask contains our signal.
    #[error("the thread blocks the signal")]
    SignalBlocked,
    /// It didn't run the handler in time: it is uninterruptible in the kernel, stopped, or starved.
    #[error("the thread did not answer")]
    NoAnswer,
    /// The deadline came before its turn.
    #[error("there was no time left for the thread")]
    NoTime,
    /// Another handler was installed over ours, which isn't restored.
    #[error("the host has replaced the signal handler")]
    HandlerReplaced,
    /// It is the thread that called [`Capturer::capture`].
    #[error("it is the thread that captures")]
    Myself,
    /// Another capture was in progress until the deadline.
    #[error("another capture was under way")]
    Busy,
    /// The signal couldn't be sent, or there was no memory, or /proc couldn't be read.
    #[error("system error {0}")]
    System(
        /// The errno.
        i32,
    ),
}

/// A copy of one thread's stack.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The registers and the memory.
    pub stack: StackSlice<'a>,
    /// Whether the stack continues after these bytes: it is longer than 512 KiB, or no mapping is
    /// known for it, in which case there are no bytes.
    pub truncated: bool,
}

/// The right to capture threads; the handler is installed.
#[derive(Clone, Copy, Debug)]
pub struct Capturer {
    signal: Signal,
}

/// Installs the handler of `signal` for the rest of the process's life.
///
/// Calling it again with the same signal does nothing, even if the handler was replaced meanwhile.
///
/// # Errors
///
/// On an unsupported platform, if it is installed for another signal, or if the kernel refuses.
pub fn install(signal: Signal) -> Result<Capturer, InstallError> {
    sys::install(signal)?;
    Ok(Capturer { signal })
}

impl Capturer {
    /// Copies the stacks of `threads` and calls `on_result` once for each, in no particular order.
    ///
    /// Blocks until all are done, at most until `deadline` plus the time that `on_result` takes. A
    /// thread gets half a second to answer. If there are several callers, one captures at a time.
    pub fn capture(
        &self,
        threads: &[Tid],
        deadline: Instant,
        mut on_result: impl FnMut(Tid, Result<Slice<'_>, Missing>),
    ) {
        if let Err(missing) = self.try_capture(threads, deadline, &mut on_result) {
            for &tid in threads {
                on_result(tid, Err(missing));
            }
        }
    }

    /// Returns `Err` if nothing could be captured at all, without having called `on_result`.
    fn try_capture(
        &self,
        threads: &[Tid],
        deadline: Instant,
        on_result: &mut dyn FnMut(Tid, Result<Slice<'_>, Missing>),
    ) -> Result<(), Missing> {
        let session = Session::begin(deadline).map_err(|error| match error {
            NoSession::Busy => Missing::Busy,
            NoSession::Memory(error) => system(&error),
        })?;
        if !sys::handler_in_place(self.signal) {
            return Err(Missing::HandlerReplaced);
        }
        sys::note_pid();
        let mut round = Round {
            session,
            signal: self.signal,
            myself: sys::current_tid(),
            maps: read_maps()?,
            capacity: FIRST_CAPACITY,
            deadline,
            in_flight: [const { None }; SLOTS],
            waiting: threads.iter().copied().collect(),
            again: VecDeque::new(),
            blocking: VecDeque::new(),
            looks: 0,
        };
        round.run(on_result);
        if !round.again.is_empty() {
            // The stacks of threads born after the table was read are unknown, so read a new one.
            if let Ok(maps) = read_maps() {
                round.maps = maps;
            }
            round.capacity = BUFFER_LEN;
            round.looks = 0;
            round.waiting = std::mem::take(&mut round.again);
            round.run(on_result);
        }
        Ok(())
    }
}

/// One pass over some threads with the same capacity.
struct Round {
    session: Session,
    signal: Signal,
    myself: Tid,
    maps: Arc<MapTable>,
    capacity: usize,
    deadline: Instant,
    in_flight: [Option<Flight>; SLOTS],
    waiting: VecDeque<Tid>,
    /// Threads whose stack didn't fit or wasn't known, to be captured once more.
    again: VecDeque<Tid>,
    /// Threads that block the signal, to be checked again.
    blocking: VecDeque<Tid>,
    /// How often those were checked.
    looks: u32,
}

struct Flight {
    tid: Tid,
    request: Request,
    give_up: Instant,
    resend: Instant,
    resend_after: Duration,
}

impl Round {
    fn run(&mut self, on_result: &mut dyn FnMut(Tid, Result<Slice<'_>, Missing>)) {
        loop {
            let seen = self.session.answers();
            for index in 0..SLOTS {
                self.look_after(index, on_result);
                self.fill(index, on_result);
            }
            let next = self
                .in_flight
                .iter()
                .flatten()
                .map(|it| it.resend.min(it.give_up))
                .min();
            match next {
                Some(next) => self.session.wait(seen, next),
                None if self.waiting.is_empty() && self.blocking.is_empty() => return,
                None if self.waiting.is_empty() => {
                    let pause = BLOCKED_PAUSE * 2_u32.pow(self.looks);
                    self.session
                        .wait(seen, self.deadline.min(Instant::now() + pause));
                    self.looks += 1;
                    self.waiting = std::mem::take(&mut self.blocking);
                }
                // Handlers of earlier captures hold every slot; one of them may finish.
                None if Instant::now() < self.deadline => {
                    self.session.wait(seen, self.deadline);
                }
                None => {}
            }
        }
    }

    /// Starts the next thread in a free slot.
    fn fill(&mut self, index: usize, on_result: &mut dyn FnMut(Tid, Result<Slice<'_>, Missing>)) {
        while self.in_flight.get(index).is_some_and(Option::is_none) {
            let Some(tid) = self.waiting.pop_front() else {
                return;
            };
            match self.start(index, tid) {
                Ok(Some(flight)) => self.put(index, Some(flight)),
                Ok(None) => {
                    self.waiting.push_front(tid);
                    return;
                }
                Err(Missing::SignalBlocked) if self.looks < BLOCKED_LOOKS => {
                    self.blocking.push_back(tid);
                }
                Err(missing) => on_result(tid, Err(missing)),
            }
        }
    }

    /// Starts a capture; `None` if the slot isn't usable.
    fn start(&mut self, index: usize, tid: Tid) -> Result<Option<Flight>, Missing> {
        let now = Instant::now();
        if tid == self.myself {
            return Err(Missing::Myself);
        }
        if now >= self.deadline {
            return Err(Missing::NoTime);
        }
        let stat = present(tid)?;
        // A running thread may be about to unblock it, as our own handler does when it returns.
        if stat.state != 'R' && self.signal.is_in(stat.blocked) {
            return Err(Missing::SignalBlocked);
        }
        let Some(request) = self.session.arm(index, tid, self.capacity, &self.maps) else {
            return Ok(None);
        };
        if let Err(missing) = self.send(tid, &request) {
            self.session.cancel(request);
            return Err(missing);
        }
        Ok(Some(Flight {
            tid,
            request,
            give_up: self.deadline.min(now + PATIENCE),
            resend: now + FIRST_RESEND,
            resend_after: FIRST_RESEND,
        }))
    }

    /// Delivers an answer, asks again, or gives up.
    fn look_after(
        &mut self,
        index: usize,
        on_result: &mut dyn FnMut(Tid, Result<Slice<'_>, Missing>),
    ) {
        let Some(mut flight) = self.in_flight.get_mut(index).and_then(Option::take) else {
            return;
        };
        let now = Instant::now();
        if let Progress::Answered(answer) = self.session.progress(&flight.request) {
            let is_last_try = self.capacity == BUFFER_LEN || now >= self.deadline;
            if answer.extent == Extent::Whole || is_last_try {
                on_result(flight.tid, Ok(slice(answer)));
            } else {
                self.again.push_back(flight.tid);
            }
            return;
        }
        if now >= flight.give_up {
            self.session.cancel(flight.request);
            let missing = match present(flight.tid) {
                Ok(stat) if self.signal.is_in(stat.blocked) => Missing::SignalBlocked,
                Ok(_) => Missing::NoAnswer,
                Err(missing) => missing,
            };
            on_result(flight.tid, Err(missing));
            return;
        }
        if now >= flight.resend {
            if let Err(missing) = self.send(flight.tid, &flight.request) {
                self.session.cancel(flight.request);
                on_result(flight.tid, Err(missing));
                return;
            }
            flight.resend_after *= 2;
            flight.resend = now + flight.resend_after;
        }
        self.put(index, Some(flight));
    }

    fn put(&mut self, index: usize, flight: Option<Flight>) {
        if let Some(place) = self.in_flight.get_mut(index) {
            *place = flight;
        }
    }

    fn send(&self, tid: Tid, request: &Request) -> Result<(), Missing> {
        sys::send(self.signal, tid, request.cookie()).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => Missing::Exited,
            _ => system(&error),
        })
    }
}

/// Reads the `stat` of a thread that can still run code.
fn present(tid: Tid) -> Result<Stat, Missing> {
    match Stat::of(tid) {
        // A main thread that has ended stays a zombie as long as others run.
        Ok(Some(stat)) if matches!(stat.state, 'Z' | 'X') => Err(Missing::Exited),
        Ok(Some(stat)) => Ok(stat),
        Ok(None) => Err(Missing::Exited),
        Err(error) => Err(system(&error)),
    }
}

fn read_maps() -> Result<Arc<MapTable>, Missing> {
    MapTable::read()
        .map(Arc::new)
        .map_err(|error| system(&error))
}

fn system(error: &io::Error) -> Missing {
    Missing::System(error.raw_os_error().unwrap_or(0))
}

fn slice(answer: Answer<'_>) -> Slice<'_> {
    Slice {
        stack: answer.stack,
        truncated: answer.extent != Extent::Whole,
    }
}
