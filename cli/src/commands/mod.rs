//! The commands: each asks, builds a model, and hands it to a renderer.

mod leaks;
mod list;
mod memstats;
mod profile;
mod stack;
mod stats;
mod trim;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use rtops_report::style::Style;

use crate::{
    args::{Cli, Command, OutputArgs},
    demo,
    error::Error,
};

/// Where a command prints, and how.
struct Output {
    writer: Box<dyn Write>,
    style: Style,
    format: Format,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Text,
    Json,
}

/// Does what was asked for.
///
/// # Errors
/// Whatever kept it from being done whole.
pub fn run(cli: Cli) -> Result<(), Error> {
    match cli.command.unwrap_or(Command::List) {
        Command::List => list::run(&cli.output),
        Command::Stats(args) => stats::run(&args, &cli.output),
        Command::Stack(args) => stack::run(&args, &cli.output),
        Command::Memstats(args) => memstats::run(&args, &cli.output),
        Command::Trim(args) => trim::run(&args, &cli.output),
        Command::Leaks(args) => leaks::run(&args, &cli.output),
        Command::Profile(args) => profile::run(&args, &cli.output),
        Command::Demo(args) => demo::run(&args),
    }
}

impl Output {
    /// Called once the answer is there: a file is not emptied for a command that fails.
    fn open(args: &OutputArgs) -> Result<Self, Error> {
        let format = if args.json {
            Format::Json
        } else {
            Format::Text
        };
        let Some(path) = &args.output else {
            return Ok(Self {
                writer: Box::new(BufWriter::new(io::stdout())),
                style: args.color.for_stdout(),
                format,
            });
        };
        let file = File::create(path).map_err(|source| Error::CreateOutput {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            writer: Box::new(BufWriter::new(file)),
            style: args.color.for_file(),
            format,
        })
    }
}
