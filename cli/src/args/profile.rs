//! The arguments of `rtops profile`.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{AttachArgs, SourceArgs};
use crate::complete;

const PROFILE_EXAMPLES: &str = "\
Examples:
  rtops profile tasks gateway -o tasks.pb.gz
  go tool pprof -top tasks.pb.gz                      how many tasks are where
  go tool pprof -http=: tasks.pb.gz                   graph and flame graph
  go tool pprof -sample_index=waits -top tasks.pb.gz  every place of a join
  rtops profile tasks gateway --debug 1               text, equal tasks together
  rtops profile tasks gateway --debug 2               text, one by one

A task counts once, with the first place where it waits; `waits` counts all.
docs/operate/profile.md has the formats, and how a service serves them.";

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
#[command(after_long_help = PROFILE_EXAMPLES)]
#[command(override_usage = "rtops profile tasks [OPTIONS] [TARGET|--core FILE|--from FILE]")]
pub struct TaskProfileArgs {
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
    /// As Go's `debug`: 0 pprof, 1 text, 2 long text
    ///
    /// 0 is a gzipped pprof protobuf, 1 text with equal tasks together, 2 text with
    /// one task after the other.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub debug: u8,
}
