//! How often to look, and for how long.

use std::{num::NonZeroU64, time::Duration};

use clap::{Args, Subcommand};
use rtops_report::format::parse_duration;

use super::{ListArgs, StatsArgs};
use crate::error::Error;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether to look once or again and again.
#[derive(Args, Clone, Debug, Default)]
pub struct WatchArgs {
    /// Refresh every TIME; by default every 1s for stats, every 2s for list
    ///
    /// On a terminal, the new output replaces the old one, until Ctrl-C. A file or
    /// pipe gets one after the other.
    #[arg(long, visible_alias = "every", value_name = "TIME", num_args = 0..=1)]
    watch: Option<Option<String>>,
    /// Stop after N times; implies --watch
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

const WATCH_HELP: &str = "\
Examples:
  rtops watch stats gateway             rates every second, until Ctrl-C
  rtops watch list --every 5s           processes and their number of tasks";

/// What to watch.
#[derive(Args, Debug)]
#[command(after_long_help = WATCH_HELP)]
pub struct WatchCommandArgs {
    #[command(subcommand)]
    pub what: Watched,
}

/// What can be watched.
#[derive(Debug, Subcommand)]
pub enum Watched {
    /// Watch the rates of a process, like `rtops stats --watch`
    #[command(override_usage = "rtops watch stats [OPTIONS] <TARGET>")]
    Stats(StatsArgs),
    /// Watch the list of processes, like `rtops list --watch`
    List(ListArgs),
}

/// A pace to look at something.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub interval: Duration,
    /// After how many looks to end.
    pub count: Option<NonZeroU64>,
}

impl WatchArgs {
    /// As if `--watch` had been given.
    pub fn switch_on(&mut self) {
        self.watch.get_or_insert_default();
    }

    /// Takes the word behind `--watch`, where it is meant as another argument.
    pub fn take_word(&mut self) -> Option<String> {
        self.watch.as_mut()?.take()
    }

    /// The pace that was asked for, `None` for a single look.
    ///
    /// # Errors
    /// When the interval is none that can be kept.
    pub fn pace(&self, default: Duration) -> Result<Option<Pace>, Error> {
        if self.watch.is_none() && self.count.is_none() {
            return Ok(None);
        }
        let word = self.watch.as_ref().and_then(Option::as_deref);
        let interval = word.map_or(Ok(default), parse_interval);
        Ok(Some(Pace {
            interval: interval.map_err(|reason| Error::Usage(format!("--watch: {reason}")))?,
            count: self.count,
        }))
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if !(SHORTEST..=LONGEST).contains(&interval) {
        return Err("an interval is from 100ms to 1h".to_owned());
    }
    Ok(interval)
}
