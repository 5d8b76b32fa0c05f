//! How long a dump takes, from the command to the last line, and how it affects the target's tasks.
//!
//! `cargo bench -p rtops --bench dump [-- TASKS…]` prints, for each number of suspended tasks, the
//! median time of `rtops stack`, and how late a timer of one millisecond wakes a task on the same
//! runtime, with and without dumps going on.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use std::time::Duration;

use common::support::{Build, Target};
use measure::{dump, median, sizes};

const RUNS: usize = 11;

fn main() {
    println!("   tasks  rtops stack  a task  p99.9 late, quiet  p99.9 late, dumped  ratio");
    for size in sizes(&[1_000, 10_000, 100_000]) {
        measure(size);
    }
}

fn measure(size: usize) {
    let target = Target::start(Build::Release, &["ticking-herd", &size.to_string()]);
    dump(&target);
    let mut times: Vec<Duration> = Vec::new();
    let (mut quiet, mut dumped) = (Vec::new(), Vec::new());
    // In turn, so that other work on the machine affects both sides.
    for _ in 0..RUNS {
        lateness(&target);
        let took = dump(&target);
        dumped.push(lateness(&target));
        std::thread::sleep(took);
        quiet.push(lateness(&target));
        times.push(took);
    }
    let (time, quiet, dumped) = (median(times), median(quiet), median(dumped));
    println!(
        "{size:8}  {time:>11.1?}  {:>6.1?}  {quiet:>17.1?}  {dumped:>18.1?}  {:5.1}",
        time / u32::try_from(size).unwrap(),
        dumped.as_secs_f64() / quiet.as_secs_f64(),
    );
}

/// Returns how late the ticker was since this was last asked.
fn lateness(target: &Target) -> Duration {
    Duration::from_micros(target.command("check").parse().unwrap())
}
