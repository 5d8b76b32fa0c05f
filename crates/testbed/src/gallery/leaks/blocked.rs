//! Tasks that block the thread they run on.

use std::sync::{Arc, Mutex, mpsc};

use futures::executor::block_on;
use rtops_agent::Track;
use tokio::sync::oneshot;

use crate::{
    threads::thread,
    traffic::{THREADS, requests},
};

/// A trait that is not async needs an answer, so the task blocks on a future.
pub(crate) fn block_on_in_task() {
    let (answer, question) = oneshot::channel::<u64>();
    let resolve = async move {
        let resolved = block_on(question); // LEAK block-on-in-task
        drop(answer);
        resolved.unwrap_or_default()
    };
    tokio::spawn(resolve.tracked("resolve"));
}

/// A task wants a lock of the standard library that a thread never releases.
pub(crate) fn std_mutex_in_task() {
    let stats = Arc::new(Mutex::new(0_u64));
    let (locked, lock) = mpsc::channel();
    let exported = Arc::clone(&stats);
    thread("exporter", move || {
        let exported = exported.lock();
        locked.send(()).ok();
        // Waits for somebody who never comes.
        std::thread::park();
        drop(exported);
    });
    lock.recv().expect("the thread starts");
    let count = async move {
        *stats.lock().expect("nobody panics") += 1; // LEAK std-mutex-in-task
    };
    tokio::spawn(count.tracked("count"));
}

/// Each request occupies one more thread of the blocking pool.
pub(crate) fn blocking_pool() {
    let mut devices = Vec::new();
    requests(THREADS, move |_| {
        let (device, answer) = mpsc::channel::<u64>();
        devices.push(device);
        rtops_agent::spawn_blocking(move || {
            answer.recv().ok() // LEAK blocking-pool
        });
    });
}
