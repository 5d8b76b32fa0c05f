//! Waits for the time of the next look, or for the terminal to change.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// A clock that ticks once per interval.
#[derive(Debug)]
pub struct Ticks {
    interval: Duration,
    next: Instant,
    signals: SignalFd,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// It is time for the next look.
    Tick,
    /// The terminal has a new size.
    Resized,
    /// rtops was stopped, the shell had the terminal, and now rtops continues.
    Continued,
}

impl Ticks {
    /// Starts the clock; the first tick is due after one interval. The two signals that also end a
    /// wait do nothing by themselves; from now on, nobody else receives them.
    ///
    /// # Errors
    /// If the kernel has no descriptor left.
    pub fn start(interval: Duration) -> nix::Result<Self> {
        let signals: SigSet = [Signal::SIGWINCH, Signal::SIGCONT].into_iter().collect();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            interval,
            next: Instant::now() + interval,
            signals: SignalFd::with_flags(&signals, flags)?,
        })
    }

    /// Records that a look is over: the next is at least half an interval away. If a late look were
    /// followed at once by the next, the rates would be those of an instant, or of no time at all
    /// by the agent's clock, which advances every few milliseconds.
    pub fn looked(&mut self) {
        self.next = self.next.max(Instant::now() + self.interval / 2);
    }

    /// Waits for the next tick or a signal.
    ///
    /// # Errors
    /// If the kernel does not let it wait.
    pub fn wait(&mut self) -> nix::Result<Event> {
        loop {
            if let Some(signal) = self.signals.read_signal()? {
                let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
                return Ok(if number == Signal::SIGCONT as i32 {
                    Event::Continued
                } else {
                    Event::Resized
                });
            }
            let now = Instant::now();
            if now >= self.next {
                self.next += self.interval;
                return Ok(Event::Tick);
            }
            let left = self.next.duration_since(now) + Duration::from_millis(1);
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut files = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut files, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_look_that_is_late_is_not_followed_at_once_by_the_next() {
        let interval = Duration::from_millis(100);
        let mut ticks = Ticks::start(interval).expect("a descriptor is free");
        thread::sleep(interval * 3 - interval / 10);
        for _ in 0..3 {
            assert_eq!(ticks.wait(), Ok(Event::Tick));
            let over = Instant::now();
            ticks.looked();
            assert_eq!(ticks.wait(), Ok(Event::Tick));
            assert!(over.elapsed() >= interval / 2);
        }
    }
}
