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
  rtops stack 4711 --tasks --each        every task on its own
  rtops stack 4711 --filter 'db::|pool'  only what these names occur in
  rtops stack 4711 --min-age 5m          only what has not moved for 5 minutes
  rtops stack 4711 --json -o dump.json
  rtops stack api worker                 one section each

Frames are listed innermost first; where a task waits in several places at once
(join, select), the tree is drawn from the root down.

The process stands still for about a millisecond, while a copy of it is made,
which is only read; nothing in it changes. Without an agent the same is shown.
Names, ages, spawn sites and holders are known of tracked ones only.";

/// What of the stacks to show.
#[derive(Args, Debug)]
#[command(after_long_help = STACK_EXAMPLES)]
#[command(
    override_usage = "rtops stack [OPTIONS] [TARGET...|--core FILE|--from FILE|--all-agents]"
)]
pub struct StackArgs {
    /// PIDs, or names of processes or their beginnings
    ///
    /// With several, there is a section for each; with none, the only process is shown
    /// that has an agent or runs tokio.
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
    /// Only tasks
    #[arg(long, conflicts_with = "threads")]
    pub tasks: bool,
    /// Only threads
    #[arg(long)]
    pub threads: bool,
    /// Show tasks and threads that are equal one by one
    #[arg(long)]
    pub each: bool,
    /// Show which task spawned which, with its innermost await
    #[arg(long, conflicts_with_all = ["threads", "each", "json"])]
    pub tree: bool,
    /// Show the frames of executor and standard library, too
    #[arg(long, hide_short_help = true)]
    pub all_frames: bool,
    /// Only what has a name, function or file that matches
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Only tasks that wait or run for at least this long
    ///
    /// Of untracked tasks that is not known: they are left out.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// At most this many groups of tasks, and of threads
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Save the dump, for --from and `leaks --baseline`
    ///
    /// With `-` it goes to standard output, and nothing else does.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
}
