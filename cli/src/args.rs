//! The command line as it was typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use regex::Regex;
use rtops_report::format::parse_duration;

use crate::terminal::ColorChoice;

const EXAMPLES: &str = "\
Examples:
  rtops                        list the processes that have an agent
  rtops stack gateway          where every task and thread of `gateway` waits
  rtops stack 4711 --tasks --min-age 5m
  rtops stats gateway --json
  rtops demo                   see it all on a sample service

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such process, 4 process
without an agent, 5 no permission, 6 timed out or incomplete, 7 the versions of
rtops and the agent do not fit";

const STACK_EXAMPLES: &str = "\
Examples:
  rtops stack gateway                    everything, equal stacks grouped
  rtops stack 4711 --tasks --each        every task on its own
  rtops stack 4711 --filter 'db::|pool'  only what these names occur in
  rtops stack 4711 --min-age 5m          only what has not moved for 5 minutes
  rtops stack 4711 --json -o dump.json

Frames are listed innermost first; where a task waits in several places at once
(join, select), the tree is drawn from the root down.";

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
    Stats(TargetArgs),
    /// Show where the tasks and threads of a process wait
    Stack(StackArgs),
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

/// Which process, and how long to wait for it.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// A PID, or the whole name of a process
    pub target: String,
    /// The longest time to wait for the whole answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// What of the stacks to show.
#[derive(Args, Debug)]
#[command(after_help = STACK_EXAMPLES)]
pub struct StackArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Only tasks
    #[arg(long, conflicts_with = "threads")]
    pub tasks: bool,
    /// Only threads
    #[arg(long)]
    pub threads: bool,
    /// Show every task and thread on its own instead of grouping equal ones
    #[arg(long)]
    pub each: bool,
    /// Step one poll of every kind of task that waits, to show branches that
    /// registered no waker; by default only of those that nothing can wake
    #[arg(long, conflicts_with = "threads")]
    pub deep: bool,
    /// Also show the frames of the executor and of the standard library
    #[arg(long)]
    pub all_frames: bool,
    /// Only what has a name, function or file that matches
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Only tasks that have been waiting or running for at least this long,
    /// such as 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// At most this many groups of tasks, and of threads
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Look for debug files here, too (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
}

/// A duration that a conversation can keep: neither none nor for ever.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    let longest = Duration::from_secs(3600);
    if timeout.is_zero() || timeout > longest {
        return Err("a time-out is more than 0 and at most 1h".to_owned());
    }
    Ok(timeout)
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
            None,
            Some("list"),
            Some("stats"),
            Some("stack"),
            Some("demo"),
        ] {
            let command = match part {
                None => Some(&mut command),
                Some(name) => command.find_subcommand_mut(name),
            };
            let help = command.map(|command| command.render_long_help().to_string());
            let help = help.unwrap_or_default();
            assert!(help.contains("Usage: rtops"));
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
