//! The program `rtops`, which shows what running Rust services are doing. It is a library so that
//! completions and man pages can be generated from its arguments.
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
mod watch;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use rtops_render::wrap;
use rtops_symbols::child;

use crate::out::terminal::style_for_stderr;
pub use complete::Shell;

/// Returns the commands and arguments of `rtops`.
#[must_use]
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    // This program starts itself again for three helpers: one freezes another
    // process, the others read symbols and programs.
    rtops_attach::run_helper_if_asked();
    child::run_if_asked();
    rtops_binary::child::run_if_asked();
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
    // If standard error is closed too, nobody is left to tell.
    drop(tell(&format!("rtops: {error}")));
    ExitCode::from(error.exit_code())
}

/// Prints a message to standard error, wrapped between words; indented lines are kept.
fn tell(text: &str) -> io::Result<()> {
    let style = style_for_stderr();
    let mut told = Vec::new();
    for line in text.lines() {
        match line.starts_with(' ') {
            true => writeln!(told, "{line}")?,
            false => wrap::write(&mut told, style, ("", "    "), &[(None, line)])?,
        }
    }
    io::stderr().write_all(&told)
}
