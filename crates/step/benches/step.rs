//! What stepping costs: a closure of some hundred instructions, with and without.
//!
//! `cargo bench -p rtops-step`

use std::hint::black_box;

use divan::Bencher;
use rtops_step::Stepper;

fn main() {
    divan::main();
}

/// Four instructions a round, and a few around them.
#[inline(never)]
fn work(rounds: u64) -> u64 {
    (0..rounds).fold(0, |sum, round| black_box(sum) + round)
}

const ROUNDS: [u64; 3] = [10, 100, 1000];

#[divan::bench(args = ROUNDS)]
fn at_full_speed(rounds: u64) -> u64 {
    work(black_box(rounds))
}

/// The name of a figure can't tell how many steps a closure took; this is what one takes.
#[divan::bench(args = ROUNDS)]
fn stepped(bencher: Bencher, rounds: u64) {
    let Ok(stepper) = Stepper::new() else { return };
    let steps = || {
        let (sum, outcome) = stepper.step(0, || work(black_box(rounds)));
        outcome.ok().and_then(|()| stepper.take()).map(|trace| {
            black_box(sum);
            trace.steps as u64
        })
    };
    let items = steps().unwrap_or(1);
    let counter = divan::counter::ItemsCount::new(items);
    bencher.counter(counter).bench_local(steps);
}

/// What is made once a dump.
#[divan::bench]
fn ready_to_step() -> bool {
    Stepper::new().is_ok()
}
