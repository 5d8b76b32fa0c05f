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
  rtops leaks gateway                    watch for 30 s, then report leaks
  rtops leaks gateway --for 0            look only once
  rtops leaks gateway --fail --json      for cron and CI
  rtops stack gateway --save before; …; rtops leaks gateway --baseline before

Findings, from the strongest evidence to the weakest:
  proven    nothing can wake it: it has no waker, or registered none
  deadlock  it waits for a lock or a task that waits for it
  growing   its number grows while rtops watches, and none of them ends
  stuck     it has waited in one place for --min-age, while others like it
            went on; or it has waited that long for a lock
  spinning  it has been in one poll for more than a second
  orphaned  a hint: the task that spawned it was cancelled, and it still waits

What one look shows is printed at once; then rtops watches, and prints the rest.
Of untracked tasks no ages are known: they are stuck if they stayed where they
were in every look while others went on, and spinning if they ran in each.";

/// How to look for leaks.
#[derive(Args, Debug)]
#[command(after_long_help = LEAKS_HELP)]
#[command(override_usage = "rtops leaks [OPTIONS] [TARGET|--core FILE|--from FILE]")]
pub struct LeaksArgs {
    /// A PID, or the name of a process or the start of it
    ///
    /// Without it, rtops takes the only process that has an agent or runs tokio.
    #[arg(conflicts_with_all = ["core", "exe", "sysroot", "from"],
          add = ArgValueCandidates::new(complete::targets))]
    pub target: Option<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    /// How long to watch; 0 looks only once
    ///
    /// On a busy machine, a watch may last longer: it takes the looks that it planned,
    /// or four of them.
    #[arg(long = "for", value_name = "TIME", default_value = "30s",
          value_parser = parse_duration, conflicts_with_all = ["core", "from", "baseline"])]
    pub watch: Duration,
    /// How often to look while watching [default: 5s]
    ///
    /// Without it, in a watch of less than 20s a quarter of that lies between two looks.
    #[arg(long, value_name = "TIME", value_parser = parse_pause, conflicts_with = "core")]
    pub every: Option<Duration>,
    /// Suspect every wait this long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration,
          conflicts_with = "core")]
    pub min_age: Duration,
    /// Compare with a dump that `stack --save` wrote, instead of watching
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Ignore what matches (can be repeated)
    ///
    /// rtops ignores a task or thread if its name, a function or a file matches.
    #[arg(long, value_name = "REGEX")]
    pub ignore: Vec<Regex>,
    /// Read patterns for --ignore from a file
    ///
    /// Each line is a regular expression; `#` starts a comment.
    #[arg(long, value_name = "FILE")]
    pub ignore_file: Option<PathBuf>,
    /// Exit with code 10 if there are findings
    ///
    /// Hints do not count.
    #[arg(long)]
    pub fail: bool,
    /// Show at most this many findings
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// A pause that is one.
fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause < Duration::from_millis(100) {
        return Err("it must be at least 100ms".to_owned());
    }
    Ok(pause)
}
