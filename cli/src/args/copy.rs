//! When a copy of the process may be made.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rtops_protocol::{CopyDetail, CopyRequest, CopyWhen};
use rtops_report::format::parse_duration;

/// For how long an agent may stop its process, where nothing else is said.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// How to find the untracked tasks: in a copy of the process.
#[derive(Args, Clone, Copy, Debug)]
pub struct CopyArgs {
    /// Find untracked tasks: auto (default), never, always
    ///
    /// Untracked tasks are found and polled in a copy of the process, which is made
    /// where there are such, never, or in any case. A process without an agent is copied
    /// from outside; "always" does so even if its seccomp filter can't be read.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        conflicts_with = "core",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub copy: CopyChoice,
    /// Stop the process for no longer than this, to copy it
    ///
    /// Where it would take longer, no copy is made. 25ms if its agent makes the copy, 100ms
    /// if it has none.
    #[arg(long, value_name = "TIME", value_parser = parse_max_pause,
          conflicts_with = "core", hide_short_help = true)]
    pub max_pause: Option<Duration>,
}

/// When to make a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CopyChoice {
    /// If more tasks are alive than are tracked.
    Auto,
    /// Not at all.
    Never,
    /// In any case.
    Always,
}

impl CopyArgs {
    /// What to ask an agent for; `None` for no copy.
    pub fn request(&self, detail: CopyDetail) -> Option<CopyRequest> {
        let when = match self.copy {
            CopyChoice::Auto => CopyWhen::Needed,
            CopyChoice::Always => CopyWhen::Always,
            CopyChoice::Never => return None,
        };
        let max_pause = self.max_pause.unwrap_or(MAX_PAUSE);
        Some(CopyRequest {
            detail,
            when,
            max_pause_us: u32::try_from(max_pause.as_micros()).unwrap_or(u32::MAX),
        })
    }
}

/// A time for which a process may be stopped: neither none nor one that everybody notices.
fn parse_max_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause.is_zero() || pause > Duration::from_secs(10) {
        return Err("a pause is more than 0 and at most 10s".to_owned());
    }
    Ok(pause)
}
