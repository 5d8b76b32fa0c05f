//! The arguments of `rtops list`.

use clap::Args;

use super::WatchArgs;

/// How to list.
#[derive(Args, Debug, Default)]
pub struct ListArgs {
    #[command(flatten)]
    pub watch: WatchArgs,
}
