//! The arguments of `rtops tree`.

use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::complete;

const TREE_HELP: &str = "\
Examples:
  rtops tree                the Rust processes and their parents
  rtops tree 4711           process 4711 and its children
  rtops tree --all          all processes

`*` marks a process with an agent, and `+` another Rust process. To see the tree
of the tasks in a process, use `rtops stack TARGET --tree`.";

/// Which part of the tree to show.
#[derive(Args, Debug)]
#[command(after_long_help = TREE_HELP)]
pub struct TreeArgs {
    /// Show only this process and its descendants: a PID or a name
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    pub target: Option<String>,
    /// Also show branches without a Rust process
    #[arg(long)]
    pub all: bool,
}
