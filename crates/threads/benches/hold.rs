//! What holding costs: until all threads wait, and how long they stand still for nothing.

mod common;

use std::time::{Duration, Instant};

use common::with_threads;
use divan::counter::ItemsCount;
use rtops_threads::{Held, HoldError, Signal, install};

fn main() {
    divan::main();
}

/// The whole call, most of which goes on beside the threads.
#[divan::bench(args = [4, 128, 512, 2000], sample_count = 50, sample_size = 1)]
fn hold(bencher: divan::Bencher<'_, '_>, count: usize) {
    with_threads(count, |_| {
        bencher
            .counter(ItemsCount::new(count))
            .bench_local(|| hold_all(count));
    });
}

/// From the first signal until the call returns. divan measures only what it runs, so that each of
/// these times is passed once more.
#[divan::bench(args = [4, 128, 512, 2000], sample_count = 50, sample_size = 1)]
fn pause(bencher: divan::Bencher<'_, '_>, count: usize) {
    with_threads(count, |_| {
        bencher
            .with_inputs(|| hold_all(count).since().elapsed())
            .bench_local_values(pass);
    });
}

/// Letting all go, for the one who does it.
#[divan::bench(args = [4, 128, 512, 2000], sample_count = 50, sample_size = 1)]
fn release(bencher: divan::Bencher<'_, '_>, count: usize) {
    with_threads(count, |_| {
        bencher
            .with_inputs(|| hold_all(count))
            .bench_local_values(drop);
    });
}

fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn hold_all(count: usize) -> Held {
    let capturer = install(Signal::URGENT).expect("the handler is installed");
    loop {
        match capturer.hold(&[], Instant::now() + Duration::from_secs(10)) {
            Ok(held) => {
                assert!(held.is_whole() && held.threads().len() >= count);
                return held;
            }
            Err(HoldError::StillRuns(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
