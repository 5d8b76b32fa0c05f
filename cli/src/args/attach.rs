//! When and how a process is looked at from outside.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rtops_report::format::parse_duration;

/// How to find all tasks and threads: by a look at the process from outside.
#[derive(Args, Clone, Copy, Debug)]
pub struct AttachArgs {
    /// Look from outside: auto (default), never, always
    ///
    /// The process stands still for about a millisecond, while a copy of it is made, which is
    /// only read. auto: if that can be done without harm, else only its agent is
    /// asked. never: only its agent. always: or not at all, and even if its seccomp
    /// filter can't be read.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        conflicts_with = "core",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub attach: AttachChoice,
    /// Stop the process for no longer than this, to copy it; 100ms by default
    ///
    /// Where it would take longer, it is not looked at from outside.
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
        return Err("a pause is more than 0 and at most 10s".to_owned());
    }
    Ok(pause)
}
