//! The arguments of `rtops tree`.

use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::complete;

const TREE_HELP: &str = "\
Examples:
  rtops tree                the Rust processes, and what started them
  rtops tree 4711           what process 4711 started
  rtops tree --all          all processes of the machine

A `*` marks processes that have an agent, a `+` other ones of Rust. The tree of
a process's tasks is `rtops stack TARGET --tree`.";

/// Which part of the tree to show.
#[derive(Args, Debug)]
#[command(after_long_help = TREE_HELP)]
pub struct TreeArgs {
    /// Only this process and those below it: a PID or a name
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    pub target: Option<String>,
    /// Also show branches that lead to no Rust process
    #[arg(long)]
    pub all: bool,
}
