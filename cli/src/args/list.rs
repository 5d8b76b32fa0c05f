//! The arguments of `rtops list`.

use clap::{Args, ValueEnum};

use super::WatchArgs;

const LIST_HELP: &str = "\
Examples:
  rtops list --all --sort rss     Rust processes, the largest first
  rtops list --user api           those of one user
  rtops list --all --watch        every 2s, until Ctrl-C

A process without an agent is told to be of Rust by its executable: by what
rustc leaves there, or by paths of the standard library.";

/// Which processes to list, and in which order.
#[derive(Args, Debug, Default)]
#[command(after_long_help = LIST_HELP)]
pub struct ListArgs {
    /// Also list Rust processes without an agent, and which rustc built each
    #[arg(long)]
    pub all: bool,
    /// Sort by this; figures begin with the largest, what is not known is last
    #[arg(long, value_name = "KEY", default_value = "pid")]
    pub sort: SortKey,
    /// Only processes of this user, by name or number
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// What to sort a list by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum SortKey {
    #[default]
    Pid,
    Name,
    Cpu,
    Rss,
    Tasks,
    Threads,
    Uptime,
}
