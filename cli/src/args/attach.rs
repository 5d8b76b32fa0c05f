//! When and how a process is looked at from outside.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rtops_report::format::parse_duration;

/// How to find all tasks and threads: by a look at the process from outside.
#[derive(Args, Clone, Copy, Debug)]
pub struct AttachArgs {
    /// Look from outside: auto (default), never or always
    ///
    /// To look from outside, rtops stops the process for about a millisecond,
    /// copies it, and reads the copy. auto: do this if it can't do harm, else ask
    /// only the agent. never: ask only the agent. always: fail if it can't be
    /// done, and do it even if the seccomp filter of the process can't be read.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        conflicts_with = "core",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub attach: AttachChoice,
    /// The longest time to stop the process for, to copy it; 100ms by default
    ///
    /// If the copy would take longer, rtops does not look from outside.
    #[arg(long, value_name = "TIME", value_parser = parse_max_pause,
          conflicts_with = "core", hide_short_help = true)]
    pub max_pause: Option<Duration>,
}

/// When to look from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AttachChoice {
    /// If it can be done without harm.
    Auto,
    /// Not at all.
    Never,
    /// Or not at all.
    Always,
}

/// A time for which a process may be stopped: neither none nor one that everybody notices.
fn parse_max_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause.is_zero() || pause > Duration::from_secs(10) {
        return Err("it must be more than 0 and at most 10s".to_owned());
    }
    Ok(pause)
}
