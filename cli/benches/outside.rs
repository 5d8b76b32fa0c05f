//! What it takes to look at a process from outside, without an agent and with one.
//!
//! `cargo bench -p rtops --bench outside [-- TASKS…]` prints, for each number of waiting tasks and for a thousand
//! beside a heap of a GiB: for how long the process stood still, the median time of `rtops stack` and the most memory
//! that rtops had; then the same where the process has an agent, which is asked, too, and the ratio of the times.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use common::reply::Stack;
use common::support::{Build, Target, rtops};
use common::victim::Victim;
use measure::{median, run, sizes};

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");
const RUNS: usize = 5;

fn main() {
    println!(
        "   tasks  pause ms  rtops stack  peak MB  agent: pause ms  rtops stack  peak MB  ratio"
    );
    for size in sizes(&[1, 100, 10_000, 100_000]) {
        measure(&size.to_string(), &["plain-herd", &size.to_string()]);
    }
    measure("1 GiB", &["big-herd"]);
}

fn measure(name: &str, scenario: &[&str]) {
    let alone = Victim::start(Build::Release.path(), scenario).quiet();
    let pid = alone.pid().to_string();
    let target = Target::start(Build::Release, scenario);
    let directory = format!("RTOPS_DIR={}", target.directory().display());
    let agent = target.pid.to_string();
    let (mut pauses, mut times, mut peak) = (Vec::new(), Vec::new(), 0);
    let (mut agent_pauses, mut agent_times, mut agent_peak) = (Vec::new(), Vec::new(), 0);
    // In turn, so that what else the machine does falls on both sides.
    for _ in 0..RUNS {
        let stack = [RTOPS, "stack", "--tasks", "--timeout=60s"];
        let (time, memory) = run(&[&stack, &[pid.as_str()][..]].concat());
        times.push(time);
        peak = peak.max(memory);
        pauses.push(outside(&pid));
        let asked = ["env", &directory];
        let (time, memory) = run(&[&asked[..], &stack, &[agent.as_str()]].concat());
        agent_times.push(time);
        agent_peak = agent_peak.max(memory);
        let looked = target.stack(&["--tasks", "--attach=always"]);
        agent_pauses.push(looked.outside.unwrap().pause_ms);
    }
    let (time, agent_time) = (median(times), median(agent_times));
    println!(
        "{name:>8}  {:8.2}  {time:>11.1?}  {:7}  {:15.2}  {agent_time:>11.1?}  {:7}  {:5.2}",
        median(pauses),
        peak >> 10,
        median(agent_pauses),
        agent_peak >> 10,
        agent_time.as_secs_f64() / time.as_secs_f64(),
    );
}

/// For how long the process stood still in another look, in milliseconds.
fn outside(pid: &str) -> f64 {
    let run = rtops(None, &["stack", pid, "--tasks", "--json", "--timeout=60s"]).success();
    let stack: Stack = serde_json::from_str(&run.stdout).unwrap();
    stack.outside.unwrap().pause_ms
}
