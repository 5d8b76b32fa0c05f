//! The arguments of `rtops stats`.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{AttachArgs, CoreArgs, SymbolArgs, WatchArgs, target::parse_timeout};
use crate::complete;

const STATS_HELP: &str = "\
Examples:
  rtops stats gateway             totals and current rates
  rtops stats gateway --watch     rates every second, until Ctrl-C
  rtops stats gateway --watch 5s --count 12 --json
                                  the rates of one minute, one object per line

With --watch, rtops asks the kernel and the agent each time; `alive` includes
the untracked tasks. It also stops the process for about a millisecond, at first
and then every 10s at most, to see which tasks came and went and what is wrong.
If the agent does not answer in time, rtops reports the sample as missing. If
the process ends, rtops exits with code 3.";

/// What to count.
#[derive(Args, Debug)]
#[command(after_long_help = STATS_HELP)]
#[command(override_usage = "rtops stats [OPTIONS] [TARGET|--core FILE]")]
pub struct StatsArgs {
    /// A PID, or the name of a process or the start of it
    ///
    /// Without it, rtops takes the only process that has an agent or runs tokio.
    #[arg(conflicts_with_all = ["core", "exe", "sysroot"],
          add = ArgValueCandidates::new(complete::targets))]
    target: Option<String>,
    /// How long to wait for an answer
    ///
    /// With --watch, rtops waits no longer than the interval or 1s, whichever is
    /// longer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub timeout: Duration,
    #[command(flatten)]
    pub core: CoreArgs,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    #[command(flatten)]
    pub symbols: SymbolArgs,
}

impl StatsArgs {
    /// The target, if one is named. A word behind `--watch` may be one: in `rtops stats --watch gateway`
    /// it is.
    pub fn take_target(&mut self) -> Option<String> {
        self.target.take().or_else(|| self.watch.take_target())
    }
}
