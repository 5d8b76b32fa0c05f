//! The time and memory it takes to inspect a process from outside, without and with an agent.
//!
//! `cargo bench -p rtops --bench outside [-- TASKS…]` prints, for each number of waiting tasks and
//! for a thousand beside heaps of 10 MiB, 200 MiB and 1 GiB: how long the process stood still, how
//! long its copy lived, and the median time of `rtops stack` and its peak memory; then the same for
//! a process with an agent, which is asked too, and the ratio of the times.
//!
//! `RTOPS_BEFORE` names a directory with an earlier `rtops` and `rtops-targets`. Then it also
//! prints the median time of that `rtops stack` for that program with its agent, its peak memory,
//! and the ratio of the current time with an agent to it; all in turn, in the same run.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{
    reply::Stack,
    support::{Build, Target, rtops},
    victim::Victim,
};
use measure::{median, run, sizes};
use tempfile::tempdir;

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");
const RUNS: usize = 5;

fn main() {
    let before = env::var_os("RTOPS_BEFORE").map(PathBuf::from);
    print!("          alone:                           with an agent:");
    println!(
        "{}",
        before
            .as_ref()
            .map_or("", |_| "                         before:")
    );
    print!(
        "   tasks  pause ms  copy ms   stack  peak MB  pause ms  copy ms   stack  peak MB  ratio"
    );
    println!(
        "{}",
        before.as_ref().map_or("", |_| "    stack  peak MB  ratio")
    );
    for size in sizes(&[1, 100, 10_000, 100_000]) {
        measure(
            &size.to_string(),
            &["plain-herd", &size.to_string()],
            before.as_deref(),
        );
    }
    for size in ["10", "200", "1024"] {
        measure(
            &format!("{size} MiB"),
            &["big-herd", size],
            before.as_deref(),
        );
    }
}

fn measure(name: &str, scenario: &[&str], before: Option<&Path>) {
    let alone = Victim::start(Build::Release.path(), scenario).quiet();
    let agent = Target::start(Build::Release, scenario);
    let earlier = before.map(|directory| {
        let program = directory.join("rtops-targets");
        let target = Target::start_in(Arc::new(tempdir().unwrap()), &program, scenario);
        (directory.join("rtops"), target)
    });
    let [mut of_alone, mut of_agent, mut of_earlier] = [const { Side::new() }; 3];
    // In turn, so that other work on the machine affects all sides.
    for _ in 0..RUNS {
        of_alone.take(Path::new(RTOPS), alone.pid(), alone.directory());
        of_alone.look(alone.pid(), alone.directory());
        of_agent.take(Path::new(RTOPS), agent.pid, agent.directory());
        of_agent.look(agent.pid, agent.directory());
        if let Some((rtops, target)) = &earlier {
            of_earlier.take(rtops, target.pid, target.directory());
        }
    }
    print!(
        "{name:>8}{of_alone}{of_agent}  {:5.2}",
        of_agent.seconds() / of_alone.seconds()
    );
    if before.is_some() {
        let (time, ratio) = (
            of_earlier.seconds(),
            of_agent.seconds() / of_earlier.seconds(),
        );
        print!(
            "  {:>6.0}ms  {:7}  {ratio:5.2}",
            time * 1e3,
            of_earlier.peak >> 10
        );
    }
    println!();
}

/// The measurements of one side.
struct Side {
    times: Vec<Duration>,
    /// In KiB.
    peak: u64,
    pauses: Vec<f64>,
    copies: Vec<f64>,
}

impl Side {
    const fn new() -> Self {
        Self {
            times: Vec::new(),
            peak: 0,
            pauses: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Takes one look, from the command to its last line.
    fn take(&mut self, rtops: &Path, pid: i32, directory: &Path) {
        let directory = format!("RTOPS_DIR={}", directory.display());
        let (rtops, pid) = (rtops.to_str().unwrap(), pid.to_string());
        let words = [
            "env",
            &directory,
            rtops,
            "stack",
            &pid,
            "--tasks",
            "--timeout=60s",
        ];
        let (time, memory) = run(&words);
        self.times.push(time);
        self.peak = self.peak.max(memory);
    }

    /// Takes another look, which reports how the process was inspected.
    fn look(&mut self, pid: i32, directory: &Path) {
        let pid = pid.to_string();
        let asked = ["stack", &pid, "--tasks", "--json", "--timeout=60s"];
        let run = rtops(Some(directory), &asked).success();
        let stack: Stack = serde_json::from_str(&run.stdout).unwrap();
        let outside = stack.outside.unwrap();
        self.pauses.push(outside.pause_ms);
        self.copies.push(outside.copy_ms.unwrap());
    }

    fn seconds(&self) -> f64 {
        median(self.times.clone()).as_secs_f64()
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "  {:8.2}  {:7.1}  {:4.0}ms  {:7}",
            median(self.pauses.clone()),
            median(self.copies.clone()),
            self.seconds() * 1e3,
            self.peak >> 10,
        )
    }
}
