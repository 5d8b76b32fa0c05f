//! Stops the threads of a process and releases them.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use libc::user_regs_struct;
use nix::{
    errno::Errno,
    sys::ptrace::{self, Options},
};
use rtops_image::{Pid, Tid};

use crate::{
    Refusal, Step,
    points::point,
    preflight::why_not_traced,
    proc,
    sys::{self, Stop, XstateBuffer},
    tracee::{Bell, ended_or, has_ended},
};

/// How many running threads are polled in a row before waiting.
const MISSES: usize = 16;
/// How long to sleep while some threads stop.
const WHILE: Duration = Duration::from_micros(100);
/// How long to wait before checking what keeps a thread from stopping.
const SHORT: Duration = Duration::from_millis(2);

/// Whether threads in uninterruptible sleep, where no signal reaches them, are left behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Patience {
    Short,
    Endless,
}

/// A stopped thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) tid: Tid,
    pub(crate) registers: user_regs_struct,
    /// The state as `xsave` would store it; empty until [`Stopped::read_vectors`].
    pub(crate) xstate: Vec<u8>,
    /// The signal that is about to be delivered to it; 0 for none.
    pub(crate) signal: i32,
}

/// Stopped threads. They resume when this is dropped or when this process ends.
#[derive(Debug)]
pub(crate) struct Stopped<'b> {
    pid: Pid,
    bell: &'b Bell,
    pub(crate) threads: Vec<Thread>,
    /// Threads in uninterruptible sleep, which stop as soon as they leave it.
    pub(crate) late: Vec<Tid>,
    /// When the first thread was told to stop.
    pub(crate) since: Instant,
}

impl<'b> Stopped<'b> {
    /// Stops all threads.
    pub(crate) fn all(pid: Pid, bell: &'b Bell, limit: Duration) -> Result<Self, Refusal> {
        let mut seized = HashSet::new();
        let mut batch = Self::seize_new(pid, &mut seized)?;
        let mut stopped = Self::none(pid, bell);
        point();
        while !batch.is_empty() {
            stopped.stop(&batch, limit)?;
            point();
            // Threads that were started meanwhile.
            batch = Self::seize_new(pid, &mut seized)?;
        }
        if stopped.threads.is_empty() {
            // For example a thread that runs `exec`, which waits for the end of all others.
            let late = std::mem::take(&mut stopped.late);
            stopped.wait_for(&late, limit, Patience::Endless)?;
        }
        if stopped.threads.is_empty() {
            return Err(Refusal::Ended);
        }
        Ok(stopped)
    }

    /// Stops one thread only. `None` if it has ended.
    pub(crate) fn one(
        pid: Pid,
        tid: Tid,
        bell: &'b Bell,
        limit: Duration,
    ) -> Result<Option<Self>, Refusal> {
        let mut stopped = Self::none(pid, bell);
        if seize(pid, tid)? {
            stopped.stop(&[tid], limit)?;
        }
        if !stopped.late.is_empty() {
            return Err(Refusal::NotInTime { allowed: limit });
        }
        let is_there = !stopped.threads.is_empty();
        Ok(is_there.then_some(stopped))
    }

    fn none(pid: Pid, bell: &'b Bell) -> Self {
        Self {
            pid,
            bell,
            threads: Vec::new(),
            late: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Starts to trace the threads that are new, which alone does not stop them. This waits
    /// for an `exec` in progress, which may in turn wait for a thread that is already
    /// traced: then the watchdog ends both waits.
    fn seize_new(pid: Pid, seized: &mut HashSet<Tid>) -> Result<Vec<Tid>, Refusal> {
        let threads = proc::threads(pid).map_err(|_| Refusal::Ended)?;
        if threads.len() > proc::MOST_THREADS {
            return Err(Refusal::TooManyThreads(proc::MOST_THREADS));
        }
        let mut new = Vec::new();
        for tid in threads {
            if !seized.contains(&tid) && seize(pid, tid)? {
                seized.insert(tid);
                new.push(tid);
            }
        }
        Ok(new)
    }

    fn stop(&mut self, batch: &[Tid], limit: Duration) -> Result<(), Refusal> {
        for tid in batch {
            // A thread that has ended is found below.
            let _is_there = ptrace::interrupt(sys::traced(*tid));
        }
        point();
        self.wait_for(batch, limit, Patience::Short)
    }

    fn wait_for(
        &mut self,
        batch: &[Tid],
        limit: Duration,
        patience: Patience,
    ) -> Result<(), Refusal> {
        let end = self.since + limit;
        let mut moving: VecDeque<Tid> = batch.iter().copied().collect();
        let mut last_stop = Instant::now();
        let mut missed = 0;
        while let Some(tid) = moving.pop_front() {
            match sys::poll(tid) {
                Ok(Some(stop)) => {
                    self.take(tid, stop)?;
                    last_stop = Instant::now();
                    missed = 0;
                    continue;
                }
                Ok(None) => moving.push_back(tid),
                Err(Errno::ECHILD) => continue,
                Err(error) => return Err(Step::Stop.failed()(error)),
            }
            missed += 1;
            if missed < moving.len().min(MISSES) {
                continue;
            }
            missed = 0;
            let now = Instant::now();
            if now > end {
                return Err(Refusal::NotInTime { allowed: limit });
            }
            if now > last_stop + SHORT {
                // After a kill or an `exec`, all other threads end, and the main thread waits for
                // them. So one thread that has ended stands for all.
                let last = self.threads.last();
                if last.is_some_and(|thread| has_ended(thread.tid)) {
                    return Err(Refusal::Ended);
                }
                if patience == Patience::Short {
                    self.go_on_without(&mut moving);
                }
                last_stop = now;
            }
            if moving.len() > MISSES {
                // Polling several threads is cheaper than being woken for each.
                std::thread::sleep(WHILE);
            } else {
                self.bell.wait(SHORT);
            }
        }
        Ok(())
    }

    /// Finds threads that do not stop because no signal reaches them, and leaves them behind.
    fn go_on_without(&mut self, moving: &mut VecDeque<Tid>) {
        let is_late = |tid: &Tid| proc::is_uninterruptible(self.pid, *tid);
        self.late.extend(moving.iter().copied().filter(is_late));
        moving.retain(|tid| !self.late.contains(tid));
    }

    /// Reads the registers of a thread that has stopped.
    fn take(&mut self, tid: Tid, stop: Stop) -> Result<(), Refusal> {
        let signal = match stop {
            Stop::Asked => 0,
            Stop::Signal(signal) => signal,
            Stop::Ended => return Ok(()),
            Stop::JobControl => return Err(Refusal::Stopped),
            Stop::Call | Stop::Event(_) => return Err(Step::Stop.failed()(Errno::EPROTO)),
        };
        match ptrace::getregs(sys::traced(tid)) {
            Ok(registers) => self.threads.push(Thread {
                tid,
                registers,
                xstate: Vec::new(),
                signal,
            }),
            // It was killed.
            Err(Errno::ESRCH) => {}
            Err(error) => return Err(Step::Stop.failed()(error)),
        }
        Ok(())
    }

    /// Reads the floating-point and vector registers of all stopped threads.
    pub(crate) fn read_vectors(&mut self) -> Result<(), Refusal> {
        let mut buffer = XstateBuffer::new();
        for thread in &mut self.threads {
            let xstate = buffer.read(thread.tid);
            thread.xstate = xstate.map_err(ended_or(&Step::Stop.failed()))?.to_vec();
        }
        Ok(())
    }

    fn release(tid: Tid, signal: i32) {
        point();
        // A thread that was killed meanwhile needs nothing.
        let _is_there = sys::detach(tid, signal);
    }

    /// Releases all threads and returns what is known of them; late ones remain traced.
    pub(crate) fn release_all(&mut self) -> (Vec<Thread>, Vec<Tid>) {
        for thread in &self.threads {
            Self::release(thread.tid, thread.signal);
        }
        let (threads, late) = (&mut self.threads, &mut self.late);
        (std::mem::take(threads), std::mem::take(late))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // Threads that did not stop in time are released when this
        // process ends, which follows a refusal.
        self.release_all();
    }
}

/// Starts to trace a thread. Returns `false` if the thread has ended.
fn seize(pid: Pid, tid: Tid) -> Result<bool, Refusal> {
    /// Another tracer may detach before it can be named, and then it is no longer an obstacle.
    const TRIES: usize = 3;
    let mut refusal = Refusal::Ended;
    for _ in 0..TRIES {
        match ptrace::seize(sys::traced(tid), Options::empty()) {
            Ok(()) => return Ok(true),
            Err(Errno::ESRCH) => return Ok(false),
            Err(_) if has_ended(tid) => return Ok(false),
            Err(error) => refusal = why_not_traced(pid, tid, error),
        }
        if matches!(refusal, Refusal::Traced(_)) {
            break;
        }
    }
    Err(refusal)
}

/// Releases late threads that have left their uninterruptible sleep.
/// Returns whether there are more.
pub(crate) fn release_late(late: &mut Vec<Tid>) -> bool {
    late.retain(|tid| match sys::poll(*tid) {
        Ok(None) => true,
        Ok(Some(Stop::Signal(signal))) => {
            Stopped::release(*tid, signal);
            false
        }
        Ok(Some(_)) => {
            Stopped::release(*tid, 0);
            false
        }
        Err(_) => false,
    });
    !late.is_empty()
}
