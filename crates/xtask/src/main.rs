//! What is made of rtops beside the program: `cargo xtask completions`, `man` and `dist`.
#![forbid(unsafe_code)]

mod archive;
mod dist;
mod man;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

/// Make completions, man pages and packages of rtops.
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
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Completions { directory } => completions(&directory),
        Task::Man { directory } => man::pages(&directory),
        Task::Dist(args) => dist::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody left to tell.
            drop(writeln!(io::stderr(), "xtask: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the scripts under the names by which each shell finds them.
///
/// # Errors
/// When a file can't be written.
fn completions(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let scripts: [(&str, &dyn EnvCompleter); 3] = [
        ("rtops.bash", &Bash),
        ("_rtops", &Zsh),
        ("rtops.fish", &Fish),
    ];
    for (name, shell) in scripts {
        let mut file = File::create(directory.join(name))?;
        shell.write_registration(
            rtops::COMPLETE_VARIABLE,
            "rtops",
            "rtops",
            "rtops",
            &mut file,
        )?;
    }
    Ok(())
}
