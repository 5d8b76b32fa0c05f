//! Measures what capturing costs: one thread, and as many as a thread-per-connection service has.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use rtops_threads::{Signal, Tid, install, list};

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 100, 1000, 5000], sample_count = 10)]
fn capture(bencher: divan::Bencher<'_, '_>, count: usize) {
    with_threads(count, |tids| {
        let capturer = install(Signal::URGENT).expect("the handler is installed");
        bencher.bench_local(|| {
            let mut copies = 0;
            let deadline = Instant::now() + Duration::from_secs(60);
            capturer.capture(tids, deadline, |_, result| {
                copies += usize::from(result.is_ok())
            });
            assert_eq!(copies, count);
        });
    });
}

#[divan::bench(args = [1, 5000], sample_count = 10)]
fn list_threads(bencher: divan::Bencher<'_, '_>, count: usize) {
    with_threads(count, |_| bencher.bench_local(list));
}

fn with_threads(count: usize, run: impl FnOnce(&[Tid])) {
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
