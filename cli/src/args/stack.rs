//! The arguments of `rtops stack`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use regex::Regex;
use rtops_report::{format::parse_duration, order::Order};

use super::{AttachArgs, SourceArgs};
use crate::complete;

const STACK_EXAMPLES: &str = "\
Examples:
  rtops stack gateway                    everything, equal stacks grouped
  rtops stack 4711 --tasks --each        every task, one by one
  rtops stack 4711 --filter 'db::|pool'  only what matches these names
  rtops stack 4711 --min-age 5m          only what has waited for 5 minutes
  rtops stack 4711 --json -o dump.json
  rtops stack api worker                 two processes, a section each

rtops shows first what deserves a look, and last what is idle. It lists the
frames of the process's own crates, the outermost first: the last line is where
it waits. If a task waits in several places (join, select), that is a tree.

rtops stops the process for about a millisecond, copies it, and reads the copy;
it changes nothing in the process. The process needs no agent for that. Names,
ages, spawn sites and lock holders are known only for tracked tasks.";

/// What of the stacks to show.
#[derive(Args, Debug)]
#[command(after_long_help = STACK_EXAMPLES)]
#[command(
    override_usage = "rtops stack [OPTIONS] [TARGET...|--core FILE|--from FILE|--all-agents]"
)]
pub struct StackArgs {
    /// PIDs, or names of processes or the start of them
    ///
    /// With several, each process has its own section. With none, rtops takes the
    /// only process that has an agent or runs tokio.
    #[arg(value_name = "TARGET",
          conflicts_with_all = ["core", "exe", "sysroot", "from", "all_agents"],
          add = ArgValueCandidates::new(complete::targets))]
    pub targets: Vec<String>,
    /// Show all processes that have an agent
    #[arg(long, conflicts_with_all = ["core", "exe", "sysroot", "from"])]
    pub all_agents: bool,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    /// Show only tasks
    #[arg(long, conflicts_with = "threads")]
    pub tasks: bool,
    /// Show only threads
    #[arg(long)]
    pub threads: bool,
    /// Show every task and thread instead of groups
    #[arg(long)]
    pub each: bool,
    /// Show which task spawned which, and where each waits
    #[arg(long, conflicts_with_all = ["threads", "each", "json"])]
    pub tree: bool,
    /// Show all frames, those of libraries, executor and standard library, too
    ///
    /// Without this, text has the frames of the target's own crates, and says in a line what lies
    /// between them; and lines in the C library are not looked up.
    #[arg(long, hide_short_help = true)]
    pub all_frames: bool,
    /// Which frames are the target's own: those whose function or file matches
    ///
    /// Without this, those whose source is not of a registry, a git checkout, a vendor directory or the
    /// standard library.
    #[arg(long, value_name = "REGEX", hide_short_help = true)]
    pub own: Option<Regex>,
    /// Do not show lines of the source
    ///
    /// They are shown where the files are on this machine, of this user or root, and not newer
    /// than the program.
    #[arg(long, hide_short_help = true)]
    pub no_source: bool,
    /// Sort groups by concern, count or age
    ///
    /// concern: first what nothing can wake, then what waits in a circle, runs for long, is starved, or
    /// waits for a lock; last what waits as a service at rest does.
    #[arg(
        long,
        value_name = "KEY",
        default_value = "concern",
        hide_possible_values = true
    )]
    pub sort: StackSort,
    /// Show only what has a matching name, function or file
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Show only tasks that wait or run for this long
    ///
    /// This leaves out untracked tasks, as it is not known for them.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// Show at most this many groups of tasks and of threads
    ///
    /// 0 shows only what is wrong.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Save the dump, for --from and `leaks --baseline`
    ///
    /// `-` writes it, and nothing else, to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
}

/// What to sort groups by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum StackSort {
    #[default]
    Concern,
    Count,
    Age,
}

impl From<StackSort> for Order {
    fn from(sort: StackSort) -> Self {
        match sort {
            StackSort::Concern => Self::Concern,
            StackSort::Count => Self::Count,
            StackSort::Age => Self::Age,
        }
    }
}
