//! The arguments of `rtops version`.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{CoreArgs, TargetArgs, target::parse_timeout};
use crate::{complete, error::Error};

const VERSION_HELP: &str = "\
Examples:
  rtops version gateway                 how it was built, and its agent
  rtops version 4711 --dependencies     also the packages it was built from

rtops reads most of this from the executable, so the process needs no agent. The
list of packages is there if the program was built with `cargo auditable`.";

/// What to say about the build of a process.
#[derive(Args, Debug)]
#[command(after_long_help = VERSION_HELP)]
#[command(override_usage = "rtops version [OPTIONS] <TARGET|--core FILE>")]
pub struct VersionArgs {
    /// A PID, or the name of a process or the start of it
    #[arg(required_unless_present = "core", conflicts_with_all = ["core", "exe", "sysroot"],
          add = ArgValueCandidates::new(complete::targets))]
    target: Option<String>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    #[command(flatten)]
    pub core: CoreArgs,
    /// List the packages that it was built from
    #[arg(long)]
    pub dependencies: bool,
}

impl VersionArgs {
    /// How long an answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The process to look at.
    ///
    /// # Errors
    /// When there is none, which clap does not let through.
    pub fn target(&self) -> Result<TargetArgs, Error> {
        TargetArgs::named(self.target.as_ref(), self.timeout)
    }
}
