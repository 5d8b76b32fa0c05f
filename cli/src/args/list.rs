//! The arguments of `rtops list`.

use clap::{Args, ValueEnum};

use super::WatchArgs;

const LIST_HELP: &str = "\
Examples:
  rtops list --all --sort rss     all Rust processes, the largest first
  rtops list --user api           the processes of one user
  rtops list --all --watch        every 2s, until Ctrl-C

rtops recognizes a Rust process without an agent by its executable, which has
the version of rustc or paths of the standard library in it.";

/// Which processes to list, and in which order.
#[derive(Args, Debug, Default)]
#[command(after_long_help = LIST_HELP)]
pub struct ListArgs {
    /// Also list Rust processes without an agent, with their rustc version
    #[arg(long)]
    pub all: bool,
    /// Sort by this column, numbers from the largest to the smallest
    #[arg(long, value_name = "KEY", default_value = "pid")]
    pub sort: SortKey,
    /// List only the processes of this user (a name or a number)
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// List at most this many processes
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
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
