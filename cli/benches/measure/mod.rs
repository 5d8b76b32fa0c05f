//! What the benchmarks share: dumps, and the numbers of tasks given as arguments.

use std::{
    env, fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::common::support::Target;

/// Returns the numbers among the arguments, or else these.
pub fn sizes(default: &[usize]) -> Vec<usize> {
    let sizes: Vec<usize> = env::args().filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        default.to_vec()
    } else {
        sizes
    }
}

/// Returns how long it takes to show all tasks.
pub fn dump(target: &Target) -> Duration {
    let start = Instant::now();
    target.stack_text(&["--tasks"]);
    start.elapsed()
}

pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// Returns how long a command takes, and the most memory that it was seen to have, in KiB.
pub fn run(words: &[&str]) -> (Duration, u64) {
    let begin = Instant::now();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        peak = peak.max(number.map_or(0, |number| number.parse().unwrap()));
        if child.try_wait().unwrap().is_some() {
            return (begin.elapsed(), peak);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
