//! Freezes real processes that only root can create: those of other
//! users, in namespaces, and in cgroups.
#![allow(
    dead_code,
    reason = "most of it is for the tests that need no more than a toolchain"
)]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod ends;
mod harm;
mod kills;
mod modes;
mod process;
mod refusals;
mod rich;
mod runner;
mod targets;

use std::process::ExitCode;

use runner::Test;

fn main() -> ExitCode {
    runner::main(&[refusals::AS_ROOT, harm::AS_ROOT, kills::AS_ROOT])
}
