//! The arguments of `rtops trim`.

use clap::Args;

use super::TargetArgs;

const TRIM_HELP: &str = "\
This is the only command that changes the process. Its allocators return the
memory that they keep free for later to the system: malloc_trim for glibc, a
purge of all arenas for jemalloc, mi_collect for mimalloc. They do not move
memory that is in use.

Meanwhile, threads that allocate from a glibc heap wait: half a second for each
GiB, and some seconds if the heap has many small free pieces. When the process
needs the memory again, it has to ask the system for it. If rtops stops waiting,
the trim goes on. A service can forbid it with rtops_agent::Capability::Trim.";

/// Which process is to be changed.
#[derive(Args, Debug)]
#[command(after_long_help = TRIM_HELP)]
pub struct TrimArgs {
    #[command(flatten)]
    pub target: TargetArgs,
}
