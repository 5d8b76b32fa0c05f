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
    /// Look again and again: stats every 1s, list every 2s
    ///
    /// A terminal shows the last look, until Ctrl-C; a file or pipe gets one after the
    /// other.
    #[arg(long, visible_alias = "every", value_name = "TIME", num_args = 0..=1)]
    watch: Option<Option<String>>,
    /// End after N looks; implies --watch
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

const WATCH_HELP: &str = "\
Examples:
  rtops watch stats gateway             rates every second, until Ctrl-C
  rtops watch list --every 5s           who is there, and with how many tasks";

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
    /// Watch the rates of a process, as `rtops stats --watch`
    #[command(override_usage = "rtops watch stats [OPTIONS] [TARGET]")]
    Stats(StatsArgs),
    /// Watch the list of processes, as `rtops list --watch`
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

    /// Takes the word behind `--watch`, where it is the name of a process or a PID, not an interval.
    pub fn take_target(&mut self) -> Option<String> {
        let is_target = |word: &mut String| {
            let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
            is_number || parse_duration(word).is_err()
        };
        self.watch.as_mut()?.take_if(is_target)
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
