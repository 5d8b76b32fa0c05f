//! The arguments of `rtops trim`.

use clap::Args;

use super::TargetArgs;

const TRIM_HELP: &str = "\
This is the one command that changes the process: its allocators give memory
that is free, and kept for later, back to the system (malloc_trim of glibc, a
purge of all arenas of jemalloc, mi_collect of mimalloc). Nothing in use moves.

Threads that allocate from a heap of glibc wait while it is worked on: half a
second for a GiB, and some seconds if that is in tiny free pieces. What is given
back has to be got from the system anew when it is needed. If rtops stops
waiting, the trim goes on.
rtops_agent::Capability::Trim switches it off in a service.";

/// Which process is to be changed.
#[derive(Args, Debug)]
#[command(after_long_help = TRIM_HELP)]
pub struct TrimArgs {
    #[command(flatten)]
    pub target: TargetArgs,
}
