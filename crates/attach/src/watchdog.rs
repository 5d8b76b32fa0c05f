//! The hard bound of a pause.
//!
//! A timer of the kernel sends SIGKILL to the helper. It needs no other process, which could be stopped or get no
//! processor itself; it works on a helper that is stopped, waits in the kernel or does not come to run; and what
//! the helper has stopped goes on when it ends, as the kernel sees to that as well.

use std::time::Duration;

use nix::{
    sys::{
        signal::{SigEvent, SigevNotify, Signal},
        time::TimeSpec,
        timer::{Expiration, Timer, TimerSetTimeFlags},
    },
    time::ClockId,
};

use crate::{Refusal, Step};

/// Ends this process unless it is disarmed in time.
#[derive(Debug)]
pub(crate) struct Watchdog(Timer);

impl Watchdog {
    pub(crate) fn new() -> Result<Self, Refusal> {
        let event = SigEvent::new(SigevNotify::SigevSignal {
            signal: Signal::SIGKILL,
            si_value: 0,
        });
        let timer = Timer::new(ClockId::CLOCK_MONOTONIC, event);
        timer.map(Self).map_err(Step::Prepare.failed())
    }

    /// From now on there is so much time, whatever was left before.
    pub(crate) fn arm(&mut self, limit: Duration) -> Result<(), Refusal> {
        let once = Expiration::OneShot(TimeSpec::from(limit));
        let set = self.0.set(once, TimerSetTimeFlags::empty());
        set.map_err(Step::Prepare.failed())
    }

    /// There is no limit any more.
    pub(crate) fn disarm(&mut self) -> Result<(), Refusal> {
        // A timer that is set to zero does not run.
        self.arm(Duration::ZERO)
    }
}
