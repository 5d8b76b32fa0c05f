//! The clock for ages: cheap to read, with a resolution of a few milliseconds.

#![expect(
    unsafe_code,
    reason = "clock_gettime through libc takes half the time of the safe wrappers, and every poll pays it twice"
)]

use std::time::Duration;

/// A reading of the kernel's coarse monotonic clock, in nanoseconds.
///
/// Ages of tasks are seconds or hours, and the coarse clock costs a third of the exact one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Returns the time now.
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: it writes one timespec to a place of that type. It can't fail for a clock that
        // every kernel has; if it did, the result would be a harmless age of zero.
        unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
        let seconds = (time.tv_sec as u64).wrapping_mul(1_000_000_000);
        Self(seconds.wrapping_add(time.tv_nsec as u64))
    }

    /// Returns the time from `earlier` to this reading; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the reading in nanoseconds since a point in the past that is fixed
    /// while the system runs.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the reading that gives this value from [`as_nanos`](Self::as_nanos).
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}
