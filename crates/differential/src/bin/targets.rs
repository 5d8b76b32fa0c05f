//! The targets of the other tests, in a process that leaves a core.

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    match leave_a_core() {
        Ok(()) => rtops_testbed::main(),
        Err(error) => rtops_testbed::failed(&error.to_string()),
    }
}

/// Makes the process leave a core when a signal ends it.
fn leave_a_core() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, most, most)
}
