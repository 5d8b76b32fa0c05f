//! The processes that the tests of rtops look at: `targets SCENARIO [ARGUMENT]`.
//!
//! A scenario prints `ready <pid>` once everything is in the state that is to be
//! looked at, then obeys the commands that [`control`] lists until its standard input
//! is closed. It needs no network and no file.

mod awaits;
mod block_on;
mod blocked;
mod blocking_pool;
mod churn;
mod closed;
pub mod control;
mod endless;
mod fibers;
mod filter;
mod fork;
mod gate;
mod herd;
mod joins;
mod locks;
mod memory;
mod names;
mod polled;
pub mod runtime;
pub mod settle;
mod sharing;
#[cfg(feature = "smol")]
mod smol_tasks;
mod sockets;
mod starved;
mod threads_only;
mod two_runtimes;
mod uncopied;
mod untouched;
mod unwrapped;
mod wakerless;
mod writing;

use std::{env, process::ExitCode, time::Duration};

use rtops_agent::{Capability, Options};

use crate::control::Control;

/// Longer than any test.
pub const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A scenario ends the process itself when its standard input is closed.
type Scenario = fn(Control, Option<&str>) -> Result<Never, String>;

/// The return type of functions that do not return.
#[derive(Debug)]
pub enum Never {}

/// Runs the scenario that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    match run(arguments.next().unwrap_or_default(), arguments.next()) {
        Err(error) => failed(&error),
    }
}

fn run(name: &str, argument: Option<&str>) -> Result<Never, String> {
    let scenario = scenario(name).ok_or_else(|| format!("no scenario is called {name:?}"))?;
    let control = Control::take().map_err(|error| error.to_string())?;
    let options = match name {
        "names" => Options::new()
            .name(names::PROCESS)
            .package(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .fact("commit", names::COMMIT),
        "shared" => {
            let user = argument.and_then(|user| user.parse().ok());
            Options::new().allow_uid(user.ok_or("a user is a number")?)
        }
        "memory-off" => Options::new()
            .disable(Capability::Memory)
            .disable(Capability::Trim),
        _ => Options::new(),
    };
    if name == "closed" {
        closed::log_to_stderr();
    }
    // As if the service had never heard of rtops.
    if env::var_os("WITHOUT_AGENT").is_none() {
        options.start().map_err(|error| error.to_string())?;
    }
    scenario(control, argument)
}

fn scenario(name: &str) -> Option<Scenario> {
    Some(match name {
        "awaits" => awaits::run,
        "block-on" => block_on::run,
        "blocked" => blocked::run,
        "blocking-pool" => blocking_pool::run,
        "churn" => churn::run,
        "endless" => endless::run,
        "closed" => closed::run,
        "fibers" => fibers::run,
        "suspended-fibers" => fibers::run_suspended,
        "fork" => fork::run,
        "gate" => gate::run,
        "herd" => herd::run,
        "numbered-herd" => herd::run_numbered,
        "plain-herd" => herd::run_plain,
        "big-herd" => herd::run_big,
        "shared" => |control, _user| herd::run(control, Some("3")),
        "ticking-herd" => herd::run_ticking,
        "joins" => joins::run,
        "locks" => locks::run,
        "memory" | "memory-off" => memory::run,
        "names" => names::run,
        #[cfg(feature = "smol")]
        "smol" => smol_tasks::run,
        "sharing" => sharing::run,
        "sockets" => sockets::run,
        "polled" => polled::run,
        "starved" => starved::run,
        "threads-only" => threads_only::run,
        "uncopied" => uncopied::run,
        "untouched" => untouched::run,
        "unwrapped" => awaits::run_plain,
        "two-runtimes" => two_runtimes::run,
        "wakerless" => wakerless::run,
        "writing" => writing::run,
        _ => return None,
    })
}

/// Prints what went wrong.
#[expect(clippy::print_stderr, reason = "this is what the test shows")]
pub fn failed(reason: &str) -> ExitCode {
    eprintln!("testbed: {reason}");
    ExitCode::FAILURE
}
