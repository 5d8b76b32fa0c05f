//! Freezes real processes.
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod ends;
#[allow(dead_code, reason = "some of it needs root")]
mod harm;
#[allow(dead_code, reason = "some of it needs root")]
mod kills;
mod modes;
mod process;
#[allow(dead_code, reason = "some of it needs root")]
mod refusals;
mod rich;
mod runner;
mod targets;

use std::process::ExitCode;

use runner::Test;

fn main() -> ExitCode {
    runner::main(&[
        modes::TESTS,
        refusals::TESTS,
        harm::TESTS,
        kills::TESTS,
        ends::TESTS,
    ])
}
