//! Finding what is tracked in this process, and waiting for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_tasks::{Entry, entries};

/// Returns what is tracked under this name.
pub fn named(name: &str) -> Vec<Arc<Entry>> {
    let entries = entries().into_iter();
    entries.filter(|entry| entry.name() == Some(name)).collect()
}

/// Waits for a condition.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited too long until {what}");
        std::thread::yield_now();
    }
}
