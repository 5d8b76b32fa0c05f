//! A gallery of leaks: `gallery CASE`, and `gallery --list`.
//!
//! Each case is a small part of a service that leaks tasks or threads, or that looks as if
//! it did and must not be reported. It gets into that state, prints `ready <pid>`, runs
//! until its standard input is closed, and then ends the process whatever its threads do. It
//! needs no network except the loopback, and no file.
//!
//! `// LEAK <case>` after a line marks where a leaked task or thread of that case waits.

mod case;
mod cases;
mod healthy;
mod kernels;
mod leaks;
mod locks;
mod rest;
mod threads;
mod traffic;

use std::{
    env, io,
    io::Write,
    process::{self, ExitCode},
};

use rtops_testbed::{failed, runtime::workers};
use tokio::runtime::Runtime;

use crate::{
    case::{Case, Runs},
    cases::CASES,
};

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    let done = match argument.as_deref() {
        Some("--list") => list().map_err(|error| error.to_string()),
        Some(name) => run(name),
        None => Err("name a case; --list tells which there are".to_owned()),
    };
    done.map_or_else(|reason| failed(&reason), |()| ExitCode::SUCCESS)
}

fn list() -> io::Result<()> {
    let mut output = io::stdout().lock();
    CASES.iter().try_for_each(|case| writeln!(output, "{case}"))
}

fn run(name: &str) -> Result<(), String> {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| format!("no case is called {name:?}; --list tells them"))?;
    rtops_agent::start().map_err(|error| error.to_string())?;
    enter(case).map_err(|error| error.to_string())
}

/// Brings the process into the state of the case, and does not return.
fn enter(case: &Case) -> io::Result<()> {
    let runtime = match case.runs {
        Runs::Tasks => Some(workers(2).map_err(io::Error::other)?),
        Runs::Threads => None,
    };
    let _inside = runtime.as_ref().map(Runtime::enter);
    (case.start)();
    if case.rests {
        rest::wait_for_rest()?;
    }
    writeln!(io::stdout(), "ready {}", process::id())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    process::exit(0);
}
