//! The arguments of `rtops version`.

use clap::Args;

use super::TargetArgs;

const VERSION_HELP: &str = "\
Examples:
  rtops version gateway                 how it was built, and with which agent
  rtops version 4711 --dependencies     and the packages that went into it

Most of it is read from the executable as it runs, also of a process without an
agent. What can't be known from it is said to be unknown. The list of packages is
there if `cargo auditable build` built it.";

/// What to say about the build of a process.
#[derive(Args, Debug)]
#[command(after_long_help = VERSION_HELP)]
pub struct VersionArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// List the packages that went into it
    #[arg(long)]
    pub dependencies: bool,
}
