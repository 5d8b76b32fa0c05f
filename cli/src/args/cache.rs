//! The arguments of `rtops cache`.

use clap::Args;

const CACHE_HELP: &str = "\
rtops keeps the functions and lines that it looked up, by the build of the
program, in $XDG_CACHE_HOME/rtops or ~/.cache/rtops: at most 200 MB, of which
goes first what was not used for longest. Nothing of a process's memory is
among it. --no-cache looks everything up anew, and keeps nothing.";

/// What to do about the cache.
#[derive(Args, Debug)]
#[command(after_long_help = CACHE_HELP)]
pub struct CacheArgs {
    /// Remove all that is in it
    #[arg(long)]
    pub clear: bool,
}
