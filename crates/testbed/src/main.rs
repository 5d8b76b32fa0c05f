//! The targets with the allocator of the C library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rtops_testbed::main()
}
