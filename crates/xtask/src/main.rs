//! Makes what belongs to rtops besides the program: `cargo xtask completions`, `man`, `dist`,
//! `release` and `transcripts`; runs the tests of `cargo xtask e2e`; and checks what is published.
#![forbid(unsafe_code)]

mod archive;
mod cargo;
mod dist;
mod e2e;
mod features;
mod man;
mod oldest_rust;
mod release;
mod sbom;
mod transcripts;
mod unused;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use rtops::Shell;

/// Make completions, man pages, packages, releases and transcripts of rtops.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write completion scripts for bash, zsh and fish
    Completions {
        /// Where to
        directory: PathBuf,
    },
    /// Write a man page for each command
    Man {
        /// Where to
        directory: PathBuf,
    },
    /// Build rtops and pack it with all that belongs to it
    Dist(dist::DistArgs),
    /// Run the tests that need more than the toolchain, and say which can't run here
    E2e(e2e::E2eArgs),
    /// Publish all packages, in order
    Release(release::ReleaseArgs),
    /// Check each combination of the features of what is published
    Features,
    /// Check with the oldest Rust that each package declares
    OldestRust,
    /// Find dependencies that nothing uses
    Unused,
    /// Run each command on the sample service and write docs/operate/commands.md
    Transcripts {
        /// The page, by default that of the workspace
        page: Option<PathBuf>,
        /// An rtops that is built already
        #[arg(long, value_name = "FILE")]
        rtops: Option<PathBuf>,
    },
    /// The part of it that runs in a namespace of its own
    #[command(hide = true)]
    PrintTranscripts,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Completions { directory } => completions(&directory),
        Task::Man { directory } => man::pages(&directory),
        Task::Dist(args) => dist::run(&args),
        Task::E2e(args) => cargo::workspace().and_then(|workspace| e2e::run(&args, &workspace)),
        Task::Release(args) => release::run(&args),
        Task::Features => features::run(),
        Task::OldestRust => oldest_rust::run(),
        Task::Unused => unused::run(),
        Task::Transcripts { page, rtops } => transcripts(page, rtops),
        Task::PrintTranscripts => transcripts::print(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, nobody is left to tell.
            drop(writeln!(io::stderr(), "xtask: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the scripts under the names that each shell looks for.
///
/// # Errors
/// If a file can't be written.
fn completions(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for shell in Shell::ALL {
        fs::write(directory.join(shell.file_name()), shell.script("rtops"))?;
    }
    Ok(())
}

fn transcripts(page: Option<PathBuf>, rtops: Option<PathBuf>) -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let rtops = match rtops {
        Some(rtops) => rtops,
        None => dist::build(&workspace, "release", None)?,
    };
    let page = page.unwrap_or_else(|| workspace.join("docs/operate/commands.md"));
    transcripts::write(&rtops, &page)
}
