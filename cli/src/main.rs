//! `rtops`: see what running Rust services are doing.
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod demo;
mod discover;
mod dump;
mod error;
mod process;
mod progress;
mod render;
mod survey;
mod target;
mod terminal;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

fn main() -> ExitCode {
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
