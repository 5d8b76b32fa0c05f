//! The arguments of `rtops version`.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{CoreArgs, TargetArgs, target::parse_timeout};
use crate::{complete, error::Error};

const VERSION_HELP: &str = "\
Examples:
  rtops version gateway                 how it was built, and with which agent
  rtops version 4711 --dependencies     and the packages that went into it

Most of it is read from the executable as it runs, also of a process without an
agent. What can't be known from it is said to be unknown. The list of packages
is there if `cargo auditable build` built it.";

/// What to say about the build of a process.
#[derive(Args, Debug)]
#[command(after_long_help = VERSION_HELP)]
#[command(override_usage = "rtops version [OPTIONS] <TARGET|--core FILE>")]
pub struct VersionArgs {
    /// A PID, or the name of a process or its beginning
    #[arg(required_unless_present = "core", conflicts_with_all = ["core", "exe", "sysroot"],
          add = ArgValueCandidates::new(complete::targets))]
    target: Option<String>,
    /// Wait no longer than this for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    #[command(flatten)]
    pub core: CoreArgs,
    /// List the packages that went into it
    #[arg(long)]
    pub dependencies: bool,
}

impl VersionArgs {
    /// The process to look at.
    ///
    /// # Errors
    /// When there is none, which clap does not let through.
    pub fn target(&self) -> Result<TargetArgs, Error> {
        TargetArgs::named(self.target.as_ref(), self.timeout)
    }
}
