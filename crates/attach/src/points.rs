//! Numbered points at which a test can have the helper killed or
//! stopped. Only debug builds have them.

/// Reaches the next point.
#[cfg(debug_assertions)]
pub(crate) fn point() {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    use nix::sys::signal::{Signal, raise};

    static POINT: AtomicU32 = AtomicU32::new(0);
    /// The number of a point, and the signal to raise there.
    static WANTED: LazyLock<Option<(u32, Signal)>> = LazyLock::new(|| {
        let wanted = std::env::var(POINT_VARIABLE).ok()?;
        let (number, signal) = wanted.split_once(' ')?;
        Some((number.parse().ok()?, signal.parse().ok()?))
    });
    let number = POINT.fetch_add(1, Ordering::Relaxed);
    if let Some((wanted, signal)) = *WANTED
        && wanted == number
    {
        // The test checks whatever follows from it.
        let _is_sent = raise(signal);
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) const fn point() {}

/// Names the variable that holds a point's number and a signal's name for the helper: "12 SIGKILL".
#[cfg(debug_assertions)]
pub(crate) const POINT_VARIABLE: &str = "RTOPS_ATTACH_POINT";
