//! The arguments of `rtops memstats`.

use std::time::Duration;

use clap::Args;
use rtops_report::format::parse_duration;

use super::TargetArgs;

const MEMSTATS_HELP: &str = "\
The kernel says what the process has in memory, also without an agent. The agent
adds what the allocators say of their heaps: glibc, jemalloc and mimalloc. Where
the service has rtops_agent::alloc::Counting for its allocator, it also says how
many blocks are in use, of which sizes, and how many come and go.

glibc walks through its heap for an answer, with that heap locked. Where the
process has more than 256 MiB in memory it is asked only with --walk: that can
take a tenth of a second for a GiB, and seconds if it is in tiny free pieces.
`rtops trim` gives back what is free.";

/// What to look at.
#[derive(Args, Debug)]
#[command(after_long_help = MEMSTATS_HELP)]
pub struct MemstatsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// How long to watch what changes [default: 1s if the service counts blocks,
    /// else not at all]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub watch: Option<Duration>,
    /// Ask glibc also about a large heap: threads that allocate may wait meanwhile
    #[arg(long)]
    pub walk: bool,
}
