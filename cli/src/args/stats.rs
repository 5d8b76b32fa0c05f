//! The arguments of `rtops stats`.

use std::path::PathBuf;

use clap::Args;

use super::{CopyArgs, TargetArgs};

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
