//! The time and memory it takes to show a core file, beside gdb's time for the threads alone.
//!
//! `cargo bench -p rtops --bench core [-- TASKS…]` prints, for each number of waiting
//! tasks and for a thousand beside a heap of 1 GiB: the size of the core file, the median
//! time of `rtops stack --core` without and with names and lines, its peak memory, and
//! gdb's time for `thread apply all backtrace`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use std::{fs, path::Path};

use common::{support::Build, victim::Victim};
use measure::{median, run, sizes};

const RUNS: usize = 5;

fn main() {
    println!("   tasks  core MB  without names    with lines  peak MB      gdb  rtops/gdb");
    for size in sizes(&[3, 100, 10_000, 100_000]) {
        measure(&size.to_string(), &["plain-herd", &size.to_string()]);
    }
    measure("1 GiB", &["big-herd"]);
}

fn measure(name: &str, scenario: &[&str]) {
    // The same program with symbols, so that names can be looked up if wanted.
    let program = Build::Stripped.path();
    let symbols = Build::Release.path();
    let directory = symbols.parent().unwrap().to_str().unwrap();
    let mut victim = Victim::start(program, scenario);
    let Some(core) = victim.dump() else { return };
    let size = fs::metadata(&core).unwrap().len() >> 20;
    let (mut alone, mut whole, mut gdb) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    // In turn, so that other work on the machine affects all sides.
    for _ in 0..RUNS {
        let (time, most) = run(&rtops(&core, &[]));
        alone.push(time);
        let (time, memory) = run(&rtops(&core, &["--symbols", directory]));
        whole.push(time);
        peak = peak.max(most).max(memory);
        let commands = ["-batch", "-nx", "-ex", "thread apply all backtrace"];
        let files = [symbols.to_str().unwrap(), core.to_str().unwrap()];
        let words: Vec<&str> = ["gdb"].into_iter().chain(commands).chain(files).collect();
        gdb.push(run(&words).0);
    }
    let (alone, whole, gdb) = (median(alone), median(whole), median(gdb));
    println!(
        "{name:>8}  {size:7}  {alone:>12.1?}  {whole:>12.1?}  {:7}  {gdb:>7.0?}  {:9.2}",
        peak >> 10,
        whole.as_secs_f64() / gdb.as_secs_f64(),
    );
}

fn rtops<'a>(core: &'a Path, arguments: &[&'a str]) -> Vec<&'a str> {
    let core = ["--core", core.to_str().unwrap(), "--timeout=60s"];
    let words = [env!("CARGO_BIN_EXE_rtops"), "stack"].into_iter();
    words.chain(core).chain(arguments.iter().copied()).collect()
}
