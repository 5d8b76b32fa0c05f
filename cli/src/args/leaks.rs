//! The arguments of `rtops leaks`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use clap_complete::ArgValueCandidates;
use regex::Regex;
use rtops_report::format::parse_duration;

use super::{AttachArgs, SourceArgs};
use crate::complete;

const LEAKS_HELP: &str = "\
Examples:
  rtops leaks gateway                    watch for 30 s, then say what leaks
  rtops leaks gateway --for 0            what one look can tell
  rtops leaks gateway --fail --json      for cron and CI
  rtops stack gateway --save before; …; rtops leaks gateway --baseline before

Findings, the strongest evidence first:
  proven    nothing can wake it: no waker is registered, or none exists
  deadlock  it waits for a lock or an end that waits for it
  growing   more and more of it while rtops watches, and none ends
  stuck     it has not moved for --min-age, while its like have, or waits
            that long for somebody to let go of a lock
  spinning  it has been in one poll for over a second
  orphaned  a hint: what spawned it was cancelled, and it waits on

Untracked tasks are judged as well; but what stuck, spinning and orphaned are
told by is known of tracked ones only.";

/// How to look for leaks.
#[derive(Args, Debug)]
#[command(after_long_help = LEAKS_HELP)]
#[command(override_usage = "rtops leaks [OPTIONS] [TARGET|--core FILE|--from FILE]")]
pub struct LeaksArgs {
    /// A PID, or the name of a process or its beginning
    ///
    /// Without it, the only process is meant that has an agent or runs tokio.
    #[arg(conflicts_with_all = ["core", "exe", "sysroot", "from"],
          add = ArgValueCandidates::new(complete::targets))]
    pub target: Option<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    /// How long to watch; 0 for one look
    #[arg(long = "for", value_name = "TIME", default_value = "30s",
          value_parser = parse_duration, conflicts_with_all = ["core", "from", "baseline"])]
    pub watch: Duration,
    /// How often to look meanwhile
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_pause,
          conflicts_with = "core")]
    pub every: Duration,
    /// No shorter wait is suspect by itself
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration,
          conflicts_with = "core")]
    pub min_age: Duration,
    /// Compare with a dump of `stack --save` instead
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Leave out what matches (may be repeated)
    ///
    /// A task or thread is left out if its name, a function or a file matches.
    #[arg(long, value_name = "REGEX")]
    pub ignore: Vec<Regex>,
    /// The same from a file
    ///
    /// It has a regular expression a line; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub ignore_file: Option<PathBuf>,
    /// End with exit code 10 if there are findings
    ///
    /// Hints do not count.
    #[arg(long)]
    pub fail: bool,
    /// At most this many findings
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// A pause that is one.
fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause < Duration::from_millis(100) {
        return Err("look every 100ms at the most".to_owned());
    }
    Ok(pause)
}
