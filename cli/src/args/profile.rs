//! The arguments of `rtops profile`.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{AttachArgs, SourceArgs};
use crate::complete;

const PROFILE_EXAMPLES: &str = "\
Examples:
  rtops profile tasks gateway -o tasks.pb.gz
  go tool pprof -top tasks.pb.gz                      tasks at each place
  go tool pprof -http=: tasks.pb.gz                   graph and flame graph
  go tool pprof -sample_index=waits -top tasks.pb.gz  every branch of a join
  rtops profile tasks gateway --debug 1               text, grouped
  rtops profile tasks gateway --debug 2               text, task by task

Each task counts once, at the first place where it waits; `waits` counts every
place. docs/operate/profile.md describes the formats, and how a service can
serve its own profile.";

/// What to write a profile of.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    #[command(subcommand)]
    pub of: Profiled,
}

/// What a profile can be of.
#[derive(Debug, Subcommand)]
pub enum Profiled {
    /// Write where the tasks wait, in the format of Go's goroutine profile
    Tasks(TaskProfileArgs),
}

/// In which format, and with which symbols.
#[derive(Args, Debug)]
#[command(after_long_help = PROFILE_EXAMPLES)]
#[command(override_usage = "rtops profile tasks [OPTIONS] <TARGET|--core FILE|--from FILE>")]
pub struct TaskProfileArgs {
    /// A PID, or the name of a process or the start of it
    #[arg(required_unless_present_any = ["core", "from"],
          conflicts_with_all = ["core", "exe", "sysroot", "from"],
          add = ArgValueCandidates::new(complete::targets))]
    pub target: Option<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub attach: AttachArgs,
    /// The format, as Go's `debug` parameter: 0 pprof, 1 text, 2 long text
    ///
    /// 0 is a gzipped pprof protobuf, 1 is text that groups equal tasks, and 2 is
    /// text that lists every task.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub debug: u8,
}
