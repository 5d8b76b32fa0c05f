//! What it takes to show untracked tasks, which are polled in a copy of the process.
//!
//! `cargo bench -p rtops --bench copy [-- TASKS…]` prints, for each number of suspended tasks, the
//! median time of `rtops stack`, how long the target's threads were stopped and the copy lived, what
//! memory the copy took and what the target kept, and the time for as many tracked tasks.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod common;
#[path = "../tests/e2e/reply.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod reply;
#[path = "../tests/e2e/source.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod source;
#[path = "../tests/e2e/support.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod support;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use common::{dump, median, sizes};
use support::{Build, Target};

const RUNS: usize = 5;

fn main() {
    println!("   tasks  rtops stack   pause ms  copy ms  copy KiB  kept KiB  tracked  ratio");
    for size in sizes(&[1, 100, 10_000, 100_000]) {
        measure(size);
    }
}

fn measure(size: usize) {
    let count = size.to_string();
    let plain = Target::start(Build::Release, &["plain-herd", &count]);
    let tracked = Target::start(Build::Release, &["herd", &count]);
    let before = kibibytes(plain.pid, "status", "VmRSS:");
    dump(&plain);
    dump(&tracked);
    let (mut times, mut tracked_times) = (Vec::new(), Vec::new());
    let (mut pauses, mut lives) = (Vec::new(), Vec::new());
    // In turn, so that what else the machine does falls on both sides.
    for _ in 0..RUNS {
        times.push(dump(&plain));
        tracked_times.push(dump(&tracked));
        let copy = plain.stack(&["--tasks", "--copy=always"]).copy.unwrap();
        pauses.push(copy.pause_ms.unwrap());
        lives.push(copy.lived_ms.unwrap());
    }
    let peak = peak_of_copies(&plain);
    let kept = kibibytes(plain.pid, "status", "VmRSS:").saturating_sub(before);
    let (time, tracked) = (median(times), median(tracked_times));
    println!(
        "{size:8}  {time:>11.1?}  {:9.2}  {:7.1}  {peak:8}  {kept:8}  {tracked:>7.1?}  {:5.1}",
        median(pauses),
        median(lives),
        time.as_secs_f64() / tracked.as_secs_f64(),
    );
}

/// The most memory that the copies of one dump had for themselves, of what was seen.
fn peak_of_copies(target: &Target) -> u64 {
    let done = AtomicBool::new(false);
    let pid = target.pid;
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(SeqCst) {
                peak = peak.max(own_memory_below(pid));
            }
            peak
        });
        dump(target);
        done.store(true, SeqCst);
        watch.join().unwrap()
    })
}

/// What all descendants of a process have written to since they were made.
fn own_memory_below(pid: i32) -> u64 {
    let processes = procfs::process::all_processes().unwrap().flatten();
    let children = processes.filter(|process| process.stat().is_ok_and(|stat| stat.ppid == pid));
    children
        .map(|child| {
            let own = kibibytes(child.pid(), "smaps_rollup", "Private_Dirty:");
            own + own_memory_below(child.pid())
        })
        .sum()
}

/// A line of a file in /proc; 0 where the process is gone.
fn kibibytes(pid: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().unwrap())
}
