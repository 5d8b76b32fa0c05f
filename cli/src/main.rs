//! `rtops`: see what running Rust services are doing.
#![forbid(unsafe_code)]

use std::{alloc::System, process::ExitCode};

use rtops_agent::alloc::Counting;

/// For the sample service of `rtops demo`, so that `rtops memstats` has something to count.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

fn main() -> ExitCode {
    rtops::main()
}
