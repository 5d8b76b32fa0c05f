//! The targets with a counting allocator.

use std::{alloc::System, process::ExitCode};

use rtops_agent::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

fn main() -> ExitCode {
    rtops_testbed::main()
}
