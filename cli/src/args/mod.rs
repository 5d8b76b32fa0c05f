//! The command line as it was typed: what all commands share. Those of one command are in a file
//! that bears its name.

mod attach;
mod cache;
mod core;
mod diff;
mod info;
mod leaks;
mod list;
mod memstats;
mod profile;
mod stack;
mod stats;
mod target;
mod tree;
mod trim;
mod version;
mod watch;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Args, Parser, Subcommand,
    builder::{PathBufValueParser, TypedValueParser},
};
use clap_complete::engine::SubcommandCandidates;
use rtops_render::style::Style;

use crate::{
    complete::{self, Shell},
    out::{links::LinkFormat, terminal::ColorChoice},
};

pub use self::core::CoreArgs;
pub use attach::{AttachArgs, AttachChoice};
pub use cache::CacheArgs;
pub use diff::DiffArgs;
pub use info::{InfoArgs, parse_as_info, similar_command, target};
pub use leaks::LeaksArgs;
pub use list::{ListArgs, SortKey};
pub use memstats::MemstatsArgs;
pub use profile::{ProfileArgs, Profiled, TaskProfileArgs};
pub use stack::StackArgs;
pub use stats::StatsArgs;
pub use target::{SourceArgs, SymbolArgs, TargetArgs};
pub use tree::TreeArgs;
pub use trim::TrimArgs;
pub use version::VersionArgs;
pub use watch::{Pace, WatchArgs, WatchCommandArgs, Watched};

const USAGE: &str = "rtops [OPTIONS] [COMMAND | TARGET [DURATION]]";

/// Options that all commands have are below their own.
const LAST: usize = 900;

/// Without an empty line above the usage, so that the short help fits on a screen.
const HELP: &str = "{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  rtops                        list the processes that have an agent
  rtops gateway                what the kernel knows about `gateway`
  rtops stack gateway          where every task and thread of `gateway` waits
  rtops stack 4711 --tasks --min-age 5m
  rtops stats gateway --watch  polls, spawns, busy workers, every second
  rtops leaks gateway          what will never end, and why
  rtops profile tasks gateway -o tasks.pb.gz
  rtops demo                   try it all on a sample service

Exit codes:
  0   done
  1   failed
  2   invalid arguments
  3   there is no such process, or it ended while rtops watched it
  4   the process has no agent, and the command needs one
  5   permission denied
  6   timed out, or the output is incomplete
  7   rtops and the agent do not speak the same protocol
  10  leaks were found, and --fail was given";

const COMPLETIONS: &str = "\
Install for all new shells:
  rtops completions bash > ~/.local/share/bash-completion/completions/rtops
  rtops completions zsh > DIR/_rtops          # DIR is one of $fpath
  rtops completions fish > ~/.config/fish/completions/rtops.fish";

/// See what running Rust services are doing.
///
/// rtops shows where each task and thread of a process waits and what it uses.
/// An agent in the service adds names, ages and counters. Without a command,
/// rtops lists the processes that have an agent; `rtops TARGET` is short for
/// `rtops info TARGET`. `rtops completions SHELL` prints a completion script.
#[derive(Debug, Parser)]
#[command(name = "rtops", version, max_term_width = 80)]
#[command(override_usage = USAGE, after_long_help = EXAMPLES, help_template = HELP)]
#[command(add = SubcommandCandidates::new(complete::targets))]
pub struct Cli {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How and where to print.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Print JSON (see docs/operate/json.md)
    #[arg(long, global = true, display_order = LAST)]
    pub json: bool,
    /// Write to FILE instead of standard output
    #[arg(short, long, global = true, value_name = "FILE", display_order = LAST,
          value_parser = PathBufValueParser::new().try_map(output_file))]
    pub output: Option<PathBuf>,
    /// When to use colour: auto (on a terminal), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        display_order = LAST,
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub color: ColorChoice,
    /// Make places in the source links, on a terminal with colour
    ///
    /// FORMAT is default, none, vscode, kitty or another name that ripgrep knows, or
    /// the address of a link, with {path}, {line}, {column} and {host} in it.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        display_order = LAST,
        default_value = "none",
        hide_short_help = true
    )]
    pub hyperlink_format: LinkFormat,
    /// Show `stack` and `leaks` as they are, not in a pager
    ///
    /// Where the terminal has no room for all, it is shown in $RTOPS_PAGER, else in
    /// $PAGER, else in `less -FRX`.
    #[arg(long, global = true, display_order = LAST, hide_short_help = true)]
    pub no_pager: bool,
}

/// Other programs take `-o json`, which would make a file of that name here.
fn output_file(path: PathBuf) -> Result<PathBuf, &'static str> {
    if path == Path::new("json") {
        return Err(
            "it is the name of a file: --json prints JSON, and `-o ./json` writes to that file",
        );
    }
    Ok(path)
}

impl OutputArgs {
    /// How what goes there may look.
    pub fn style(&self) -> Style<'static> {
        match self.output {
            Some(_) => self.color.for_file(),
            None => self.color.for_stdout(),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the processes that have an agent
    List(ListArgs),
    /// Show the tree of processes, and mark those written in Rust
    Tree(TreeArgs),
    /// Show what the kernel knows about a process, with or without an agent
    Info(InfoArgs),
    /// Show how a process was built, and the version of its agent
    Version(VersionArgs),
    /// Show the counters and rates of a process
    Stats(StatsArgs),
    /// Show the rates or the list, and refresh them
    Watch(WatchCommandArgs),
    /// Show where the tasks and threads of a process wait
    Stack(StackArgs),
    /// Compare two dumps, or one with a process as it is now
    Diff(DiffArgs),
    /// Show what a process uses its memory for
    Memstats(MemstatsArgs),
    /// Make a process return free memory to the system
    Trim(TrimArgs),
    /// Find tasks and threads that will never end
    Leaks(LeaksArgs),
    /// Write a profile for Go's pprof tools
    Profile(ProfileArgs),
    /// Start a sample service and look at it
    Demo(DemoArgs),
    /// Show how much of what was looked up is kept on disk, or remove it
    #[command(hide = true)]
    Cache(CacheArgs),
    /// Print a script that completes commands and targets in a shell
    // Hidden, so that the short help fits on a screen: it is asked for once.
    #[command(hide = true, after_long_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// What is no command is the target of `info`.
    #[command(external_subcommand)]
    Target(Vec<OsString>),
}

impl Default for Command {
    fn default() -> Self {
        Self::List(ListArgs::default())
    }
}

/// How much of the demo.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Only run the sample service, until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// The process that started the service and must not be outlived
    #[arg(long, hide = true, requires = "serve", value_name = "PID")]
    pub parent: Option<u32>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    /// The rows of a small terminal.
    const SCREEN: usize = 24;

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns_and_short_help_a_screen() {
        let mut command = Cli::command();
        command.build();
        for part in [
            "",
            "list",
            "tree",
            "version",
            "info",
            "stats",
            "watch",
            "watch stats",
            "watch list",
            "stack",
            "diff",
            "leaks",
            "memstats",
            "trim",
            "profile",
            "profile tasks",
            "demo",
            "cache",
            "completions",
        ] {
            let command = part
                .split_whitespace()
                .try_fold(&mut command, |command, name| {
                    command.find_subcommand_mut(name)
                });
            let helps = command.map(|command| {
                // A longer line would be broken where it stands, and leave a word alone.
                let below = command.get_after_long_help().map(ToString::to_string);
                for line in below.unwrap_or_default().lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
                let short = command.render_help().to_string();
                (short, command.render_long_help().to_string())
            });
            let (short, long) = helps.unwrap_or_default();
            assert!(long.contains("Usage: rtops"));
            for line in short.lines().chain(long.lines()) {
                assert!(line.chars().count() <= 80, "{line}");
            }
            assert!(short.lines().count() <= SCREEN, "{short}");
        }
    }
}
