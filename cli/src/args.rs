//! The command line as it was typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;
use rtops_protocol::{CopyDetail, CopyRequest, CopyWhen};
use rtops_report::format::parse_duration;

use crate::{error::Error, terminal::ColorChoice};

const EXAMPLES: &str = "\
Examples:
  rtops                        list the processes that have an agent
  rtops stack gateway          where every task and thread of `gateway` waits
  rtops stack 4711 --tasks --min-age 5m
  rtops stats gateway --json
  rtops leaks gateway          what will never end, and why
  rtops profile tasks gateway -o tasks.pb.gz
  rtops demo                   see it all on a sample service

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such process, 4 process
without an agent, 5 no permission, 6 timed out or incomplete, 7 the versions of
rtops and the agent do not fit, 10 leaks found and --fail given";

const STACK_EXAMPLES: &str = "\
Examples:
  rtops stack gateway                    everything, equal stacks grouped
  rtops stack 4711 --tasks --each        every task on its own
  rtops stack 4711 --filter 'db::|pool'  only what these names occur in
  rtops stack 4711 --min-age 5m          only what has not moved for 5 minutes
  rtops stack 4711 --json -o dump.json

Frames are listed innermost first; where a task waits in several places at once
(join, select), the tree is drawn from the root down.";

const LEAKS_HELP: &str = "\
Examples:
  rtops leaks gateway                    watch for 30 s, then say what leaks
  rtops leaks gateway --for 0            what one look can tell
  rtops leaks gateway --fail --json      for cron and CI
  rtops stack gateway --save before; …; rtops leaks gateway --baseline before

Findings, the strongest evidence first:
  proven    nothing can wake it: no waker is registered
  deadlock  it waits for a lock or an end that waits for it
  growing   more and more of it while rtops watches, and none ends
  stuck     it has not moved for --min-age, while its like have, or waits
            that long for somebody to let go of a lock
  spinning  it has been in one poll for over a second
  orphaned  a hint: what spawned it was cancelled, and it waits on";

const PROFILE_EXAMPLES: &str = "\
Examples:
  rtops profile tasks gateway -o tasks.pb.gz
  go tool pprof -top tasks.pb.gz                      how many tasks are where
  go tool pprof -http=: tasks.pb.gz                   graph and flame graph
  go tool pprof -sample_index=waits -top tasks.pb.gz  every place of a join
  rtops profile tasks gateway --debug 1               text, equal tasks together
  rtops profile tasks gateway --debug 2               text, one by one

A task counts once, with the first place where it waits; `waits` counts them all.
docs/profile.md has the formats, and how a service serves them by itself.";

/// See what running Rust services are doing.
///
/// rtops lists the processes that have an rtops agent and shows their counters,
/// where each of their tasks waits, and the stack of each thread. Without a
/// command it lists.
#[derive(Debug, Parser)]
#[command(name = "rtops", version, max_term_width = 80, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How and where to print.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Print JSON (docs/json.md describes it)
    #[arg(long, global = true)]
    pub json: bool,
    /// Write to FILE instead of standard output
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the processes that have an agent
    List,
    /// Show counters and rates of a process
    Stats(StatsArgs),
    /// Show where the tasks and threads of a process wait
    Stack(StackArgs),
    /// Find tasks and threads that will never end
    Leaks(LeaksArgs),
    /// Write a profile that Go's tools read
    Profile(ProfileArgs),
    /// Start a sample service and look at it
    Demo(DemoArgs),
}

/// What to write a profile of.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    #[command(subcommand)]
    pub of: Profiled,
}

/// What a profile can be of.
#[derive(Debug, Subcommand)]
pub enum Profiled {
    /// Write where the tasks of a process wait, as Go's goroutine profile
    Tasks(TaskProfileArgs),
}

/// In which format, and with which symbols.
#[derive(Args, Debug)]
#[command(after_help = PROFILE_EXAMPLES)]
pub struct TaskProfileArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub copy: CopyArgs,
    /// The format, by the numbers of Go's `debug` parameter: 0 a gzipped pprof
    /// protobuf, 1 text with equal tasks together, 2 text with one task after
    /// the other
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub debug: u8,
    /// Look for debug files here, too (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
}

/// How much of the demo.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Only be the sample service, until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// The process that started the service and must not be outlived
    #[arg(long, hide = true, requires = "serve", value_name = "PID")]
    pub parent: Option<u32>,
}

/// What to count.
#[derive(Args, Debug)]
pub struct StatsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub copy: CopyArgs,
    /// Look for debug files here, too (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
}

/// Which process, and how long to wait for it.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// A PID, or the whole name of a process
    pub target: String,
    /// The longest time to wait for the whole answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

/// How to find the tasks that nobody wrapped: in a copy of the process.
#[derive(Args, Clone, Copy, Debug)]
pub struct CopyArgs {
    /// When to make a copy of the process, in which tasks that nobody wrapped
    /// are found and polled: where there are such, never, or in any case
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub copy: CopyChoice,
    /// The longest time to stop the process for its copy; where it would take
    /// longer, none is made
    #[arg(long, value_name = "TIME", default_value = "25ms", value_parser = parse_max_pause)]
    pub max_pause: Duration,
}

/// When to make a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CopyChoice {
    /// If more tasks are alive than are tracked.
    Auto,
    /// Not at all.
    Never,
    /// In any case.
    Always,
}

impl CopyArgs {
    /// What to ask an agent for; `None` for no copy.
    pub fn request(&self, detail: CopyDetail) -> Option<CopyRequest> {
        let when = match self.copy {
            CopyChoice::Auto => CopyWhen::Needed,
            CopyChoice::Always => CopyWhen::Always,
            CopyChoice::Never => return None,
        };
        Some(CopyRequest {
            detail,
            when,
            max_pause_us: u32::try_from(self.max_pause.as_micros()).unwrap_or(u32::MAX),
        })
    }
}

/// What of the stacks to show.
#[derive(Args, Debug)]
#[command(after_help = STACK_EXAMPLES)]
pub struct StackArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub copy: CopyArgs,
    /// Only tasks
    #[arg(long, conflicts_with = "threads")]
    pub tasks: bool,
    /// Only threads
    #[arg(long)]
    pub threads: bool,
    /// Show every task and thread on its own instead of grouping equal ones
    #[arg(long)]
    pub each: bool,
    /// Show which task spawned which, with the innermost await of each
    #[arg(long, conflicts_with_all = ["threads", "each", "json"])]
    pub tree: bool,
    /// Step one poll of every kind of task that waits, to show branches that
    /// registered no waker; by default only of those that nothing can wake
    #[arg(long, conflicts_with_all = ["threads", "from"])]
    pub deep: bool,
    /// Also show the frames of the executor and of the standard library
    #[arg(long)]
    pub all_frames: bool,
    /// Only what has a name, function or file that matches
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Only tasks that have been waiting or running for at least this long,
    /// such as 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// At most this many groups of tasks, and of threads
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Also save the dump, for --from and for `rtops leaks --baseline`
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub save: Option<PathBuf>,
}

/// A process to ask, or a file with a dump of one.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// A PID, or the whole name of a process
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    target: Option<String>,
    /// The longest time to wait for the whole answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Show a dump that `rtops stack --save` wrote, here or on another host
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Look for debug files here, too (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
}

impl SourceArgs {
    /// The process to ask.
    ///
    /// # Errors
    /// When there is none, which clap does not let through.
    pub fn target(&self) -> Result<TargetArgs, Error> {
        let target = self.target.clone();
        Ok(TargetArgs {
            target: target.ok_or_else(|| Error::Usage("which process?".to_owned()))?,
            timeout: self.timeout,
        })
    }
}

/// How to look for leaks.
#[derive(Args, Debug)]
#[command(after_help = LEAKS_HELP)]
pub struct LeaksArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub copy: CopyArgs,
    /// How long to watch what grows; 0 for one look
    #[arg(long = "for", value_name = "TIME", default_value = "30s",
          value_parser = parse_duration, conflicts_with_all = ["from", "baseline"])]
    pub watch: Duration,
    /// How often to look meanwhile
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_pause)]
    pub every: Duration,
    /// A wait shorter than this is no reason for suspicion by itself
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub min_age: Duration,
    /// Compare with a dump that `rtops stack --save` wrote, instead of watching
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Poll some tasks of each kind instruction by instruction, to see also those
    /// of their branches that registered nothing
    #[arg(long, conflicts_with = "from")]
    pub deep: bool,
    /// Leave out what has a name, function or file that matches (may be repeated)
    #[arg(long, value_name = "REGEX")]
    pub ignore: Vec<Regex>,
    /// The same from a file, a regular expression a line, `#` for comments
    #[arg(long, value_name = "FILE")]
    pub ignore_file: Option<PathBuf>,
    /// End with exit code 10 if there are findings, hints not counted
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

/// A time for which a process may be stopped: neither none nor one that everybody notices.
fn parse_max_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause.is_zero() || pause > Duration::from_secs(10) {
        return Err("a pause is more than 0 and at most 10s".to_owned());
    }
    Ok(pause)
}

/// A duration that a conversation can keep: neither none nor for ever.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    let longest = Duration::from_secs(3600);
    if timeout.is_zero() || timeout > longest {
        return Err("a time-out is more than 0 and at most 1h".to_owned());
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        let mut command = Cli::command();
        command.build();
        for part in [
            "",
            "list",
            "stats",
            "stack",
            "leaks",
            "profile",
            "profile tasks",
            "demo",
        ] {
            let command = part
                .split_whitespace()
                .try_fold(&mut command, |command, name| {
                    command.find_subcommand_mut(name)
                });
            let help = command.map(|command| command.render_long_help().to_string());
            let help = help.unwrap_or_default();
            assert!(help.contains("Usage: rtops"));
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
