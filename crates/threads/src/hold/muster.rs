//! Calling all threads, and seeing that all have come.
//!
//! From the first signal on, some thread may stand still inside the allocator. Nothing here allocates,
//! frees or takes a lock then: the memory is set aside before, and /proc is read into it.
//!
//! Only a thread that runs can start one. So if all that were known have come or are asleep, and if a list
//! then has as many threads as there were just before it, no new one among them, none is left.

use std::io;
use std::time::{Duration, Instant};

use super::{HeldThread, HoldError};
use crate::Tid;
use crate::capture::{Missing, Signal, present};
use crate::gate::{Gate, PLACES, Pass, Standing};
use crate::sys::{self, MapTable, Tasks};

/// When nobody has come for so long, those that are called are looked at and signalled again: ours is lost
/// where a signal of the same number is pending, or too many are queued.
const LOOK_AFTER: Duration = Duration::from_millis(1);
/// When nobody has come for so long, a thread that is asleep is left to sleep.
const LEAVE_AFTER: Duration = Duration::from_millis(3);
/// When nobody has come for so long, a thread that runs is not waited for.
const PATIENCE: Duration = Duration::from_millis(20);

/// All threads that were found, and where each is.
pub(super) struct Muster {
    signal: Signal,
    myself: Tid,
    until: Instant,
    tasks: Tasks,
    listed: Vec<Tid>,
    /// Sorted, with the spared ones.
    known: Vec<Tid>,
    calls: Vec<Call>,
    /// How many of `calls` were signalled.
    sent: usize,
    /// When a thread was called or came last.
    quiet_since: Instant,
}

struct Call {
    tid: Tid,
    /// `None` while it was never worth a signal.
    pass: Option<Pass>,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Called,
    Held,
    Missing(Missing),
}

impl Muster {
    /// Sets the memory aside.
    pub(super) fn new(signal: Signal, spare: &[Tid], until: Instant) -> Result<Self, HoldError> {
        let myself = sys::current_tid();
        let mut known = Vec::with_capacity(PLACES + spare.len() + 1);
        known.extend_from_slice(spare);
        known.push(myself);
        known.sort_unstable();
        known.dedup();
        Ok(Self {
            signal,
            myself,
            until,
            tasks: Tasks::open()?,
            listed: Vec::with_capacity(known.capacity()),
            known,
            calls: Vec::with_capacity(PLACES),
            sent: 0,
            quiet_since: Instant::now(),
        })
    }

    /// Returns when all threads wait or are asleep, with the time of the first signal.
    pub(super) fn gather(&mut self, gate: &mut Gate) -> Result<Instant, HoldError> {
        self.enlist(gate)?;
        let since = Instant::now();
        loop {
            self.send_calls()?;
            self.settle(gate)?;
            let are_new = self.enlist(gate)?;
            let are_awake = self.call_awake(gate)?;
            if Instant::now() >= self.until {
                return Err(HoldError::NoTime);
            }
            if !are_new && !are_awake {
                return Ok(since);
            }
        }
    }

    /// Lists all threads and assigns places to new ones. Whether there may be more of them.
    fn enlist(&mut self, gate: &mut Gate) -> Result<bool, HoldError> {
        let there_are = match present(self.myself) {
            Ok(stat) => stat.threads,
            Err(missing) => return Err(unexpected(missing)),
        };
        let Self { tasks, listed, .. } = self;
        listed.clear();
        let mut count = 0;
        tasks.list(|tid| {
            count += 1;
            if listed.len() < listed.capacity() {
                listed.push(tid);
            }
        })?;
        if count > listed.len() {
            return Err(HoldError::TooManyThreads(count));
        }
        let mut are_new = false;
        for index in 0..count {
            let Some(&tid) = self.listed.get(index) else {
                break;
            };
            if let Err(at) = self.known.binary_search(&tid) {
                if self.calls.len() == PLACES {
                    return Err(HoldError::TooManyThreads(count.max(PLACES + 1)));
                }
                self.known.insert(at, tid);
                let call = self.call(tid, gate)?;
                self.calls.push(call);
                are_new = true;
            }
        }
        Ok(are_new || count != there_are)
    }

    /// The call of a thread that was not known.
    fn call(&self, tid: Tid, gate: &mut Gate) -> Result<Call, HoldError> {
        let missing = match present(tid) {
            Ok(stat) if stat.state != 'R' && self.signal.is_in(stat.blocked) => {
                Some(Missing::SignalBlocked)
            }
            Ok(_) => None,
            Err(Missing::Exited) => Some(Missing::Exited),
            Err(missing) => return Err(unexpected(missing)),
        };
        Ok(match missing {
            Some(missing) => Call {
                tid,
                pass: None,
                status: Status::Missing(missing),
            },
            None => Call {
                tid,
                pass: Some(self.place(tid, gate)?),
                status: Status::Called,
            },
        })
    }

    fn place(&self, tid: Tid, gate: &mut Gate) -> Result<Pass, HoldError> {
        gate.call(tid)
            .ok_or(HoldError::TooManyThreads(self.known.len()))
    }

    /// Signals the new ones, in one go.
    fn send_calls(&mut self) -> Result<(), HoldError> {
        for call in self.calls.iter_mut().skip(self.sent) {
            if call.status == Status::Called {
                send(self.signal, call)?;
            }
        }
        if self.sent < self.calls.len() {
            self.sent = self.calls.len();
            self.quiet_since = Instant::now();
        }
        Ok(())
    }

    /// Waits until none is on its way any more.
    fn settle(&mut self, gate: &Gate) -> Result<(), HoldError> {
        loop {
            let seen = gate.arrived();
            let open = self.note_arrivals(gate)?;
            if open == 0 {
                return Ok(());
            }
            let now = Instant::now();
            gate.wait(seen, open, self.until.min(now + LOOK_AFTER));
            if gate.arrived() == seen || now >= self.until {
                self.look_after()?;
            }
        }
    }

    /// How many are still on their way.
    fn note_arrivals(&mut self, gate: &Gate) -> Result<u32, HoldError> {
        let mut open = 0;
        for call in &mut self.calls {
            if call.status != Status::Called {
                continue;
            }
            match call.pass.map(|pass| gate.standing(pass)) {
                Some(Standing::Held) => {
                    call.status = Status::Held;
                    self.quiet_since = Instant::now();
                }
                Some(Standing::Left) => return Err(HoldError::NoTime),
                Some(Standing::Called) | None => open += 1,
            }
        }
        Ok(open)
    }

    /// Sees why some don't come, and calls them again or gives them up.
    fn look_after(&mut self) -> Result<(), HoldError> {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.quiet_since);
        let is_late = now >= self.until;
        for call in &mut self.calls {
            if call.status != Status::Called {
                continue;
            }
            let stat = match present(call.tid) {
                Ok(stat) => stat,
                Err(Missing::Exited) => {
                    call.status = Status::Missing(Missing::Exited);
                    continue;
                }
                Err(missing) => return Err(unexpected(missing)),
            };
            let blocks = self.signal.is_in(stat.blocked);
            if stat.state == 'R' && (waited >= PATIENCE || is_late) {
                return Err(HoldError::StillRuns(call.tid));
            }
            if stat.state != 'R' && (waited >= LEAVE_AFTER || is_late) {
                let missing = if blocks {
                    Missing::SignalBlocked
                } else {
                    Missing::NoAnswer
                };
                call.status = Status::Missing(missing);
            } else if !blocks {
                send(self.signal, call)?;
            }
        }
        Ok(())
    }

    /// Calls those that were left to sleep and no longer sleep. Whether there is one.
    fn call_awake(&mut self, gate: &mut Gate) -> Result<bool, HoldError> {
        let mut are_awake = false;
        for index in 0..self.calls.len() {
            let Some(&Call { tid, pass, status }) = self.calls.get(index) else {
                break;
            };
            let Status::Missing(missing) = status else {
                continue;
            };
            let status = if pass.is_some_and(|pass| gate.standing(pass) == Standing::Held) {
                Status::Held
            } else {
                match present(tid) {
                    Ok(stat) => {
                        let sleeps = stat.state != 'R'
                            && match missing {
                                Missing::SignalBlocked => self.signal.is_in(stat.blocked),
                                // Its number is that of a new thread.
                                Missing::Exited => false,
                                _ => true,
                            };
                        if sleeps { status } else { Status::Called }
                    }
                    Err(Missing::Exited) => Status::Missing(Missing::Exited),
                    Err(missing) => return Err(unexpected(missing)),
                }
            };
            let pass = match pass {
                None if status == Status::Called => Some(self.place(tid, gate)?),
                pass => pass,
            };
            if let Some(call) = self.calls.get_mut(index) {
                *call = Call { tid, pass, status };
                if status == Status::Called {
                    are_awake = true;
                    send(self.signal, call)?;
                }
            }
        }
        Ok(are_awake)
    }

    /// Tells who waits and who doesn't, into vectors that have room for it.
    pub(super) fn report(
        &self,
        gate: &Gate,
        maps: &MapTable,
        threads: &mut Vec<HeldThread>,
        others: &mut Vec<(Tid, Missing)>,
    ) {
        for call in &self.calls {
            match (call.status, call.pass.and_then(|pass| gate.told(pass))) {
                (Status::Held, Some((registers, hints))) => {
                    let end = sys::stack_end(registers.sp, hints, Some(maps));
                    threads.push(HeldThread {
                        tid: call.tid,
                        registers,
                        stack_end: end.map_or(0, |end| end.address),
                    });
                }
                (Status::Missing(missing), _) => others.push((call.tid, missing)),
                (Status::Called | Status::Held, _) => {}
            }
        }
    }

    /// Whether all that came still wait.
    pub(super) fn is_whole(&self, gate: &Gate) -> bool {
        let waits = |pass| gate.standing(pass) == Standing::Held;
        gate.is_closed()
            && self
                .calls
                .iter()
                .filter(|call| call.status == Status::Held)
                .all(|call| call.pass.is_some_and(waits))
    }
}

/// Signals a thread, or notes that it is gone.
fn send(signal: Signal, call: &mut Call) -> Result<(), HoldError> {
    let Some(pass) = call.pass else {
        return Ok(());
    };
    match sys::send(signal, call.tid, pass.as_raw()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            call.status = Status::Missing(Missing::Exited);
            Ok(())
        }
        sent => sent.map_err(HoldError::from),
    }
}

/// /proc could not be read.
fn unexpected(missing: Missing) -> HoldError {
    match missing {
        Missing::System(errno) => HoldError::System(errno),
        _ => io::Error::from(io::ErrorKind::NotFound).into(),
    }
}
