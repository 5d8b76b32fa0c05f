//! The commands. Each finds its process, asks, and prints what it learned as text or JSON.

mod cache;
mod completions;
mod diff;
mod info;
mod leaks;
mod list;
mod memstats;
mod parts;
mod profile;
mod rates;
mod stack;
mod stats;
mod tree;
mod trim;
mod version;
mod watch;

use std::io::{BufWriter, IntoInnerError};

use rtops_attach::Yielding;
use rtops_render::style::Style;
use rtops_report::frames::Frames;
use rtops_symbols::Symbols;

use crate::{
    args::{Cli, Command, OutputArgs},
    demo,
    error::Error,
    out::{file::OutputFile, links::Links},
};

/// Where and how a command prints.
struct Output {
    writer: BufWriter<OutputFile>,
    style: Style<'static>,
    format: Format,
}

/// The output format: for people or for programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Text,
    Json,
}

/// Runs the command that the user asked for.
///
/// # Errors
/// Whatever kept the command from finishing completely.
pub fn run(cli: Cli) -> Result<(), Error> {
    match cli.command.unwrap_or_default() {
        Command::List(args) => list::run(&args, &cli.output),
        Command::Tree(args) => tree::run(&args, &cli.output),
        Command::Version(args) => version::run(&args, &cli.output),
        Command::Info(args) => info::run(&args, &cli.output),
        Command::Target(words) => info::run_words(&words),
        Command::Stats(args) => stats::run(args, &cli.output),
        Command::Watch(args) => watch::run(args, &cli.output),
        Command::Stack(args) => stack::run(&args, &cli.output),
        Command::Diff(args) => diff::run(&args, &cli.output),
        Command::Memstats(args) => memstats::run(&args, &cli.output),
        Command::Trim(args) => trim::run(&args, &cli.output),
        Command::Leaks(args) => leaks::run(&args, &cli.output),
        Command::Profile(args) => profile::run(&args, &cli.output),
        Command::Demo(args) => demo::run(&args, &cli.output),
        Command::Cache(args) => cache::run(&args, &cli.output),
        Command::Completions { shell } => completions::run(shell, &cli.output),
    }
}

impl Output {
    /// Opens the output once the answer is there: a command that fails replaces no file.
    fn open(args: &OutputArgs) -> Result<Self, Error> {
        let file = match &args.output {
            None => OutputFile::stdout(),
            Some(path) => OutputFile::create(path)?,
        };
        Ok(Self::to(file, args))
    }

    /// As `open`, for output that may be longer than the terminal. If there may be a pager, takes
    /// the yielding, so that it ends before the pager starts.
    fn open_paged(args: &OutputArgs, yielding: &mut Option<Yielding>) -> Result<Self, Error> {
        if args.output.is_some() || args.json || args.no_pager {
            return Self::open(args);
        }
        Ok(Self::to(OutputFile::paged(yielding.take()), args))
    }

    fn to(file: OutputFile, args: &OutputArgs) -> Self {
        Self {
            writer: BufWriter::new(file),
            style: args.style(),
            format: Format::of(args),
        }
    }
}

impl Output {
    /// Finishes the output, once everything is written: a file gets its name only now.
    fn finish(self) -> Result<(), Error> {
        let file = self
            .writer
            .into_inner()
            .map_err(IntoInnerError::into_error)?;
        Ok(file.finish()?)
    }
}

/// Returns links to the places in a dump, if the user wants them and a terminal shows them.
fn links<'a>(args: &'a OutputArgs, symbols: &Symbols, frames: &Frames) -> Option<Links<'a>> {
    let style = args.style();
    let places = frames.all().filter_map(|frame| frame.place.as_ref());
    (style.has_color() && style.width.is_some())
        .then(|| Links::new(&args.hyperlink_format, symbols.source_directories(), places))?
}

impl Format {
    const fn of(args: &OutputArgs) -> Self {
        if args.json { Self::Json } else { Self::Text }
    }
}
