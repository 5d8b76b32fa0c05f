//! The program `rtops`, as a library so that completions and man pages can be made of its
//! arguments: see what running Rust services are doing.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod complete;
mod demo;
mod dump;
mod error;
mod find;
mod out;
mod proc;
mod render;
mod watch;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};

pub use complete::Shell;

/// The commands and arguments that `rtops` knows.
#[must_use]
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Does what the command line says; the exit code tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    // The process that freezes another one is this program, started anew.
    rtops_attach::run_helper_if_asked();
    match complete::answer(command) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
    let Err(error) = commands::run(args::Cli::parse()) else {
        return ExitCode::SUCCESS;
    };
    if error.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    // With standard error closed as well there is nobody left to tell.
    drop(writeln!(io::stderr(), "rtops: {error}"));
    ExitCode::from(error.exit_code())
}
