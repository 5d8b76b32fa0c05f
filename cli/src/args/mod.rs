//! The command line as it was typed: what all commands share. Those of one command are in a file
//! that bears its name.

mod copy;
mod leaks;
mod memstats;
mod profile;
mod stack;
mod stats;
mod target;
mod trim;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::terminal::ColorChoice;

pub use copy::{CopyArgs, CopyChoice};
pub use leaks::LeaksArgs;
pub use memstats::MemstatsArgs;
pub use profile::{ProfileArgs, Profiled, TaskProfileArgs};
pub use stack::StackArgs;
pub use stats::StatsArgs;
pub use target::{SourceArgs, TargetArgs};
pub use trim::TrimArgs;

const EXAMPLES: &str = "\
Examples:
  rtops                        list the processes that have an agent
  rtops stack gateway          where every task and thread of `gateway` waits
  rtops stack 4711 --tasks --min-age 5m
  rtops stats gateway --json
  rtops leaks gateway          what will never end, and why
  rtops profile tasks gateway -o tasks.pb.gz
  rtops demo                   see it all on a sample service

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such process, 4 process
without an agent, 5 no permission, 6 timed out or incomplete, 7 the versions of
rtops and the agent do not fit, 10 leaks found and --fail given";

/// See what running Rust services are doing.
///
/// rtops lists the processes that have an rtops agent and shows their counters,
/// where each of their tasks waits, and the stack of each thread. Without a
/// command it lists.
#[derive(Debug, Parser)]
#[command(name = "rtops", version, max_term_width = 80, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How and where to print.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Print JSON (docs/json.md describes it)
    #[arg(long, global = true)]
    pub json: bool,
    /// Write to FILE instead of standard output
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the processes that have an agent
    List,
    /// Show counters and rates of a process
    Stats(StatsArgs),
    /// Show where the tasks and threads of a process wait
    Stack(StackArgs),
    /// Show what the memory of a process is used for
    Memstats(MemstatsArgs),
    /// Have a process give free memory back to the system: this changes it
    Trim(TrimArgs),
    /// Find tasks and threads that will never end
    Leaks(LeaksArgs),
    /// Write a profile that Go's tools read
    Profile(ProfileArgs),
    /// Start a sample service and look at it
    Demo(DemoArgs),
}

/// How much of the demo.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Only be the sample service, until Ctrl-C
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

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        let mut command = Cli::command();
        command.build();
        for part in [
            "",
            "list",
            "stats",
            "stack",
            "leaks",
            "memstats",
            "trim",
            "profile",
            "profile tasks",
            "demo",
        ] {
            let command = part
                .split_whitespace()
                .try_fold(&mut command, |command, name| {
                    command.find_subcommand_mut(name)
                });
            let help = command.map(|command| command.render_long_help().to_string());
            let help = help.unwrap_or_default();
            assert!(help.contains("Usage: rtops"));
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
