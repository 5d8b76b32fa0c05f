//! What the clients of a service notice while it is inspected from outside.
//!
//! `cargo bench -p rtops --bench load` queries an echo server without an agent over four
//! connections, as fast as it answers. It prints the median and the 99th percentile of the answer
//! times in three cases, with ratios to the first: without dumps; with one dump after another of an
//! idle server beside it, which takes the same processor time of the machine; and with one dump
//! after another of the server itself. The cases take turns in the same run. Then it prints how
//! many dumps of the server there were, and the median time for which it stood still.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[path = "../tests/e2e/load.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod load;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use common::{
    reply::Stack,
    support::{self, Build, Target, quiet},
};
use load::{CLIENTS, ask, connect};
use measure::median;

/// The number of rounds for each case.
const ROUNDS: usize = 10;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let (target, beside) = (start(), start());
    let [mut alone, mut busy, mut dumped] = [const { Vec::new() }; 3];
    let mut pauses = Vec::new();
    // In turn, so that other work on the machine affects all sides.
    for _ in 0..ROUNDS {
        alone.extend(answers(&target, || thread::sleep(ROUND)));
        busy.extend(answers(&target, || drop(dumps(&beside))));
        dumped.extend(answers(&target, || pauses.extend(dumps(&target))));
    }
    println!("         alone  another dumped  ratio     dumped  ratio");
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let of = |times: &mut Vec<Duration>| percentile(times, percent);
        let (alone, busy, dumped) = (of(&mut alone), of(&mut busy), of(&mut dumped));
        println!(
            "{name}  {alone:>9.1?}  {busy:>14.1?}  {:5.2}  {dumped:>9.1?}  {:5.2}",
            busy.as_secs_f64() / alone.as_secs_f64(),
            dumped.as_secs_f64() / alone.as_secs_f64(),
        );
    }
    println!("{} dumps, pause {:.2} ms", pauses.len(), median(pauses));
}

fn start() -> Target {
    let mut command = Command::new(Build::Release.path());
    command.args(["untouched", "none"]);
    let target = Target::without_agent(command);
    target.ready();
    quiet(target.pid);
    target
}

/// Returns how long each answer took while `meanwhile` ran.
fn answers(target: &Target, meanwhile: impl FnOnce()) -> Vec<Duration> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut stream = connect(target);
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while !is_over.load(Relaxed) {
                        let begin = Instant::now();
                        ask(&mut stream, times.len() as u64).unwrap();
                        times.push(begin.elapsed());
                    }
                    times
                })
            })
            .collect();
        meanwhile();
        is_over.store(true, Relaxed);
        let times = clients.into_iter().map(|client| client.join().unwrap());
        times.flatten().collect()
    })
}

/// Takes one dump after another; returns how long the process stood still, in milliseconds.
fn dumps(target: &Target) -> Vec<f64> {
    let end = Instant::now() + ROUND;
    let mut pauses = Vec::new();
    while Instant::now() < end {
        let stack: Stack = target.stack(&["--tasks", "--max-pause=2s"]);
        pauses.push(stack.outside.unwrap().pause_ms);
    }
    pauses
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
