//! What capturing costs: one thread, and as many as a thread-per-connection service has.

mod common;

use std::time::{Duration, Instant};

use common::with_threads;
use rtops_threads::{Signal, install, list};

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
