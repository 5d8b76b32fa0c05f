//! The arguments of `rtops stats`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use clap_complete::ArgValueCandidates;

use super::{AttachArgs, CoreArgs, WatchArgs, target::parse_timeout};
use crate::complete;

const STATS_HELP: &str = "\
Examples:
  rtops stats gateway             totals, and rates over a moment
  rtops stats gateway --watch     rates every second, until Ctrl-C
  rtops stats gateway --watch 5s --count 12 --json
                                  those of a minute, one object a line

Watching asks the agent only: untracked tasks are counted in `alive`. A sample
that is not answered in time is said to be missing. When the process ends, the
exit code is 3.";

/// What to count.
#[derive(Args, Debug)]
#[command(after_long_help = STATS_HELP)]
#[command(override_usage = "rtops stats [OPTIONS] [TARGET|--core FILE]")]
pub struct StatsArgs {
    /// A PID, or the name of a process or its beginning
    ///
    /// Without it, the only process is meant that has an agent or runs tokio.
    #[arg(conflicts_with_all = ["core", "exe", "sysroot"],
          add = ArgValueCandidates::new(complete::targets))]
    target: Option<String>,
    /// Wait no longer than this for an answer
    ///
    /// While watching, it is no more than the interval, or 1s where that is longer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub timeout: Duration,
    #[command(flatten)]
    pub core: CoreArgs,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    /// Look for debug files here, too (may be repeated)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub symbols: Vec<PathBuf>,
}

impl StatsArgs {
    /// The target, if one is named. A word behind `--watch` may be one: in `rtops stats --watch gateway`
    /// it is.
    pub fn take_target(&mut self) -> Option<String> {
        self.target.take().or_else(|| self.watch.take_target())
    }
}
