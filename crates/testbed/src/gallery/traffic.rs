//! Incoming requests, twenty a second.

use std::{thread, time::Duration};

use rtops_agent::Track;
use tokio::time::sleep;

use crate::threads::thread;

/// The number of requests in a case that leaks one task per request.
pub(crate) const TASKS: usize = 2_000;
/// The number of requests in a case that leaks two descriptors per request.
pub(crate) const SOCKETS: usize = 400;
/// The number of requests in a case that leaks one thread per request.
pub(crate) const THREADS: usize = 500;
/// For cases that don't grow.
pub(crate) const NO_END: usize = usize::MAX;

const GAP: Duration = Duration::from_millis(50);

/// One in this many requests goes wrong, starting with the first.
const ONE_IN: usize = 100;

/// Whether this request is one of the few that go wrong.
pub(crate) fn goes_wrong(number: usize) -> bool {
    number.is_multiple_of(ONE_IN)
}

/// Spawns a task that calls `handle` for each request, with its number.
pub(crate) fn requests(most: usize, mut handle: impl FnMut(usize) + Send + 'static) {
    let traffic = async move {
        for number in 0.. {
            if number < most {
                handle(number);
            }
            sleep(GAP).await;
        }
    };
    tokio::spawn(traffic.tracked("traffic"));
}

/// Starts a thread that calls `handle` for each request, with its number.
pub(crate) fn requests_to_threads(most: usize, mut handle: impl FnMut(usize) + Send + 'static) {
    thread("traffic", move || {
        for number in 0.. {
            if number < most {
                handle(number);
            }
            thread::sleep(GAP);
        }
    });
}
