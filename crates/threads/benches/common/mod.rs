//! Threads for the benchmarks.

use std::sync::{Arc, Barrier};
use std::thread;

use rtops_threads::{Tid, list};

/// Runs `run` while there are `count` more threads that sleep.
pub fn with_threads(count: usize, run: impl FnOnce(&[Tid])) {
    let end = Arc::new(Barrier::new(count + 1));
    let before: Vec<_> = tids();
    for _ in 0..count {
        let end = Arc::clone(&end);
        thread::Builder::new()
            .stack_size(32 << 10)
            .spawn(move || end.wait())
            .expect("so many threads are allowed");
    }
    let mut started = tids();
    started.retain(|tid| !before.contains(tid));
    run(&started);
    end.wait();
}

fn tids() -> Vec<Tid> {
    list()
        .expect("/proc is readable")
        .into_iter()
        .map(|thread| thread.tid)
        .collect()
}
