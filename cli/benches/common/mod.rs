//! What the benchmarks share: dumps, and the numbers of tasks that are asked for.

use std::{
    env,
    time::{Duration, Instant},
};

use crate::support::Target;

/// The numbers among the arguments, else these.
pub fn sizes(default: &[usize]) -> Vec<usize> {
    let sizes: Vec<usize> = env::args().filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        default.to_vec()
    } else {
        sizes
    }
}

/// How long it takes to show all tasks.
pub fn dump(target: &Target) -> Duration {
    let start = Instant::now();
    target.stack_text(&["--tasks"]);
    start.elapsed()
}

pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}
