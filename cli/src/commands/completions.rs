//! `rtops completions`: the completion script of a shell.

use std::io::Write;

use super::Output;
use crate::{args::OutputArgs, complete::Shell, error::Error};

/// Prints the script.
///
/// # Errors
/// If the output can't be written.
pub fn run(shell: Shell, output: &OutputArgs) -> Result<(), Error> {
    let mut output = Output::open(output)?;
    output.writer.write_all(shell.script("rtops").as_bytes())?;
    output.finish()
}
