//! The arguments of `rtops diff`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueHint};
use clap_complete::ArgValueCandidates;

use super::{AttachArgs, SymbolArgs, target::parse_timeout};
use crate::complete;

const DIFF_HELP: &str = "\
Examples:
  rtops stack gateway --save before      keep a dump, and some time later
  rtops diff before gateway              what is different by now
  rtops diff before after                the same of two saved dumps

Groups are those of `rtops stack`: tasks with the same name or type that wait
for the same at the same places. The one whose count changed most is first.
Tasks that are in both dumps, but in another group, have moved; that is known
where both are of one process that was not started anew in between.";

/// What to compare.
#[derive(Args, Debug)]
#[command(after_long_help = DIFF_HELP)]
// There is no core file here for `AttachArgs` to be in conflict with.
#[command(group = ArgGroup::new("core"))]
pub struct DiffArgs {
    /// A dump that `rtops stack --save` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// A newer one; or a process, by its PID, name, or the beginning of that
    ///
    /// Where there is a file of that name, it is the file.
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    pub after: OsString,
    /// Wait no longer than this for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout, hide_short_help = true)]
    pub timeout: Duration,
    #[command(flatten)]
    pub attach: AttachArgs,
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// At most this many groups, and ways that tasks moved
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}
