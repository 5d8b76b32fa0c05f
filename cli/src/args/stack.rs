//! The arguments of `rtops stack`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use clap_complete::ArgValueCandidates;
use regex::Regex;
use rtops_report::format::parse_duration;

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

rtops lists frames from the innermost out. If a task waits in several places at
once (join, select), it draws a tree from the root down.

rtops stops the process for about a millisecond, copies it, and reads the copy;
it changes nothing in the process. The process needs no agent for that. Names,
ages, spawn sites and lock holders are known only for tracked tasks.";

/// What of the stacks to show.
#[derive(Args, Debug)]
#[command(after_long_help = STACK_EXAMPLES)]
#[command(
    override_usage = "rtops stack [OPTIONS] <TARGET...|--core FILE|--from FILE|--all-agents>"
)]
pub struct StackArgs {
    /// PIDs, or names of processes or the start of them
    ///
    /// With several, each process has its own section.
    #[arg(value_name = "TARGET", required_unless_present_any = ["core", "from", "all_agents"],
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
    /// Show which task spawned which, with its innermost await
    #[arg(long, conflicts_with_all = ["threads", "each", "json"])]
    pub tree: bool,
    /// Also show the frames of the executor and the standard library
    #[arg(long, hide_short_help = true)]
    pub all_frames: bool,
    /// Show only what has a matching name, function or file
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Show only tasks that wait or run for at least this long
    ///
    /// This leaves out untracked tasks, as it is not known for them.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// Show at most this many groups of tasks and of threads
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Save the dump, for --from and `leaks --baseline`
    ///
    /// `-` writes it, and nothing else, to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
}
