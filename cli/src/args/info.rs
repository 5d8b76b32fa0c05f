//! The arguments of `rtops info`, which are those of `rtops` itself where it is given a target.

use std::{env, ffi::OsString, time::Duration};

use clap::{
    Args, Command, CommandFactory, Parser,
    error::{ContextKind, ContextValue},
};
use clap_complete::ArgValueCandidates;
use rtops_report::format::parse_duration;

use super::{Cli, TargetArgs};
use crate::complete;

/// How long to wait for an agent that is asked no more than its version.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which process, and for how long to watch it.
#[derive(Args, Debug)]
pub struct InfoArgs {
    /// A PID, or the name of a process or the start of it
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    target: String,
    /// How long to measure the CPU time, such as 5s
    #[arg(default_value = "250ms", value_parser = parse_interval)]
    pub duration: Duration,
    /// List every socket, instead of groups of similar ones
    #[arg(long)]
    pub sockets: bool,
}

impl InfoArgs {
    /// The process, and how long its agent has to answer.
    pub fn target(&self) -> TargetArgs {
        target(&self.target)
    }
}

/// The target that a word names.
pub fn target(word: &str) -> TargetArgs {
    TargetArgs {
        target: word.to_owned(),
        timeout: PATIENCE,
    }
}

/// Reads the command line again, with the command `info` before these words at its end.
///
/// # Errors
/// When they are no arguments of `info`.
pub fn parse_as_info(words: &[OsString]) -> Result<Cli, clap::Error> {
    let mut line: Vec<OsString> = env::args_os().collect();
    line.insert(line.len().saturating_sub(words.len()), "info".into());
    Cli::try_parse_from(line)
}

/// The command that clap takes a mistyped one for. It tells only where any other word is an error.
pub fn similar_command(word: &str) -> Option<String> {
    let known = Cli::command();
    let strict = Command::new("rtops").subcommands(known.get_subcommands().cloned());
    let error = strict.try_get_matches_from(["rtops", word]).err()?;
    match error.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::String(similar) => Some(similar.clone()),
        // The most similar comes last.
        ContextValue::Strings(similar) => similar.last().cloned(),
        _ => None,
    }
}

/// Long enough for the kernel's clock ticks, and not for ever.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_millis(10) || interval > Duration::from_secs(24 * 3600) {
        return Err("it must be 10ms to 24h".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_commands_are_recognized() {
        for (word, command) in [("stakc", "stack"), ("lst", "list"), ("leak", "leaks")] {
            assert_eq!(similar_command(word).as_deref(), Some(command));
        }
        assert_eq!(similar_command("gateway"), None);
        assert_eq!(similar_command("4711"), None);
    }
}
