//! The program `rtops`, as a library so that completions and man pages can be made of its
//! arguments: see what running Rust services are doing.
#![forbid(unsafe_code)]

mod agent;
mod args;
mod client;
mod commands;
mod complete;
mod demo;
mod discover;
mod dump;
mod error;
mod forest;
mod heap;
mod image;
mod memory;
mod names;
mod output_file;
mod parallel;
mod process;
mod programs;
mod progress;
mod render;
mod sample;
mod screen;
mod survey;
mod target;
mod terminal;
mod thread_churn;
mod ticks;

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
