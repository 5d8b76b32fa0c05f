//! Numbered points at which a test has the helper killed or stopped, in a debug build only: a release build has
//! no code for it.

/// Comes to the next point.
#[cfg(debug_assertions)]
pub(crate) fn point() {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    use nix::sys::signal::{Signal, raise};

    static POINT: AtomicU32 = AtomicU32::new(0);
    /// The point, and what happens at it.
    static WANTED: LazyLock<Option<(u32, Signal)>> = LazyLock::new(|| {
        let wanted = std::env::var(POINT_VARIABLE).ok()?;
        let (number, signal) = wanted.split_once(' ')?;
        Some((number.parse().ok()?, signal.parse().ok()?))
    });
    let number = POINT.fetch_add(1, Ordering::Relaxed);
    if let Some((wanted, signal)) = *WANTED
        && wanted == number
    {
        // Whatever comes of it is what the test is about.
        let _is_sent = raise(signal);
    }
}

/// Comes to the next point, of which nobody hears.
#[cfg(not(debug_assertions))]
pub(crate) const fn point() {}

/// Holds the number of a point and the name of a signal, "12 SIGKILL", for the helper.
#[cfg(debug_assertions)]
pub(crate) const POINT_VARIABLE: &str = "RTOPS_ATTACH_POINT";
