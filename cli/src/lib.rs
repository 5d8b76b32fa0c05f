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

/// The commands and arguments that `rtops` knows.
#[must_use]
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Does what the command line says; the exit code tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    // The process that freezes another one is this program, started anew, and so are those that read
    // symbols and programs.
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
    // With standard error closed as well there is nobody left to tell.
    drop(tell(&format!("rtops: {error}")));
    ExitCode::from(error.exit_code())
}

/// Says something on standard error, in lines that break between words. Lines of a list stay as they are.
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
