//! Helpers for tests of real futures on a real executor.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary takes a part of it"
)]

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rtops_tasks::{Sink, StackCopy};

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::yield_now();
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Returns a future, and a flag that becomes true once it has been polled.
pub fn polled<F: Future>(future: F) -> (Arc<AtomicBool>, impl Future<Output = F::Output>) {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let future = async move {
        let mut future = std::pin::pin!(future);
        poll_fn(|context| {
            let poll = future.as_mut().poll(context);
            set.store(true, SeqCst);
            poll
        })
        .await
    };
    (flag, future)
}

/// A sink for dumps whose copies do not matter.
pub struct NoCopies;

impl Sink for NoCopies {
    fn copied(&mut self, _: &StackCopy<'_>) {}

    fn discard(&mut self, _: usize) {}
}
