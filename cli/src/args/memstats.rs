//! The arguments of `rtops memstats`.

use std::time::Duration;

use clap::Args;
use rtops_report::format::parse_duration;

use super::TargetArgs;

const MEMSTATS_HELP: &str = "\
The kernel says how much memory the process uses, with or without an agent. The
agent adds what the allocators glibc, jemalloc and mimalloc say about their
heaps. If the service uses rtops_agent::alloc::Counting as its allocator, rtops
also shows how many blocks are in use, their sizes, and how many come and go.

To answer, glibc locks its heap and walks through it. That can take a tenth of a
second for each GiB, and seconds if the heap has many small free pieces. If the
process uses more than 256 MiB, rtops asks glibc only with --walk.
`rtops trim` returns free memory to the system.";

/// What to look at.
#[derive(Args, Debug)]
#[command(after_long_help = MEMSTATS_HELP)]
pub struct MemstatsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// How long to measure changes [default: 1s if blocks are counted, else 0]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub watch: Option<Duration>,
    /// Ask glibc about a large heap, too; threads that allocate may have to wait
    #[arg(long)]
    pub walk: bool,
}
