//! `rtops`: see what running Rust services are doing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rtops::main()
}
