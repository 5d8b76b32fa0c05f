//! The targets, with an allocator that counts.

use std::{alloc::System, process::ExitCode};

use rtops_agent::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

fn main() -> ExitCode {
    rtops_testbed::main()
}
