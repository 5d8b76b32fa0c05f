//! The hard limit of a pause.
//!
//! A kernel timer sends SIGKILL to the helper. It needs no other process, which could itself be
//! stopped or get no processor. It works if the helper is stopped, waits in the kernel, or is never
//! scheduled. When the helper ends, the kernel also resumes what the helper has stopped.

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

/// Kills this process unless it is disarmed in time.
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

    /// Sets the remaining time, whatever was left before.
    pub(crate) fn arm(&mut self, limit: Duration) -> Result<(), Refusal> {
        let once = Expiration::OneShot(TimeSpec::from(limit));
        let set = self.0.set(once, TimerSetTimeFlags::empty());
        set.map_err(Step::Prepare.failed())
    }

    /// Removes the limit.
    pub(crate) fn disarm(&mut self) -> Result<(), Refusal> {
        // A timer that is set to zero does not run.
        self.arm(Duration::ZERO)
    }
}
