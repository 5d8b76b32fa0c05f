//! What a shell offers when TAB is pressed: commands, options, and the
//! processes that can be asked at that moment.

mod paths;
mod shells;

use std::env;

use clap::Command;
use clap_complete::{CompleteEnv, engine::CompletionCandidate, env::Shells};
use rtops_report::escape::escape;

use crate::{
    find::every_agent::{Answer, ask_every_agent},
    proc::Reader,
};

pub use shells::Shell;

/// Set by the shell's completion script. clap's default variable could be set for another reason.
const VARIABLE: &str = "RTOPS_COMPLETE";
/// Longer command lines are cut: a shell shows a list.
const MAX_HELP: usize = 60;
/// Nobody types a longer name.
const MAX_NAME: usize = 100;

/// Answers the shell if a shell started rtops, and returns whether one did.
///
/// # Errors
/// If the shell is unknown or the answer can't be written.
pub fn answer(command: fn() -> Command) -> Result<bool, clap::Error> {
    CompleteEnv::with_factory(|| offered(command()))
        .var(VARIABLE)
        .shells(Shells(&[&Shell::Bash, &Shell::Zsh, &Shell::Fish]))
        .bin("rtops")
        .try_complete(env::args_os(), env::current_dir().ok().as_deref())
}

/// Hides the options of a command, unless the last word begins with a
/// dash or there is nothing else to offer.
fn offered(command: Command) -> Command {
    let command = paths::left_to_the_shell(command);
    let wants_option = env::args_os()
        .next_back()
        .is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    if wants_option {
        command
    } else {
        without_options(command)
    }
}

fn without_options(command: Command) -> Command {
    let others = command.has_subcommands() || command.get_positionals().next().is_some();
    command
        .disable_help_flag(others)
        .disable_version_flag(others)
        .mut_subcommands(without_options)
        .mut_args(|argument| {
            let hidden = argument.is_hide_set() || (others && !argument.is_positional());
            argument.hide(hidden)
        })
}

/// Lists the processes that have an agent: names that only one of them has, then process ids.
pub fn targets() -> Vec<CompletionCandidate> {
    let (Ok(found), Ok(reader)) = (ask_every_agent(|_| Ok(())), Reader::new()) else {
        return Vec::new();
    };
    let mut names: Vec<(String, String)> = Vec::new();
    let mut pids = Vec::new();
    for asked in found {
        // A process that ended meanwhile is not offered.
        let Some(figures) = reader.figures(asked.pid) else {
            continue;
        };
        pids.push((asked.pid.to_string(), figures.command.clone()));
        let name = match asked.answer {
            Answer::Given(hello, ()) => hello.name,
            Answer::Silent | Answer::Wrong(_) => figures.name,
        };
        names.push((name, figures.command));
    }
    let unique = |name: &str| names.iter().filter(|(other, _)| other == name).count() == 1;
    let names = names
        .iter()
        .filter(|(name, _)| is_target(name) && unique(name));
    names
        .chain(&pids)
        .enumerate()
        .map(|(order, (target, command))| {
            CompletionCandidate::new(target)
                .help(Some(help(command).into()))
                .display_order(Some(order))
        })
        .collect()
}

/// Whether a name can be typed as it is: it is neither an option nor a process id.
fn is_target(name: &str) -> bool {
    !name.starts_with('-') && name.len() <= MAX_NAME && name.parse::<i64>().is_err()
}

fn help(command: &str) -> String {
    let escaped = escape(command);
    match escaped.char_indices().nth(MAX_HELP) {
        Some((end, _)) => format!("{}…", escaped.get(..end).unwrap_or_default()),
        None => escaped.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_something_else_is_not_offered() {
        assert!(is_target("gateway") && is_target("47-worker"));
        for name in ["-rf", "--help", "4711", "-1", &"x".repeat(101)] {
            assert!(!is_target(name), "{name}");
        }
    }

    #[test]
    fn help_is_short_and_harmless() {
        assert_eq!(help("/srv/a\t--port\n80"), "/srv/a\\t--port\\n80");
        assert_eq!(help(&"x".repeat(100)), format!("{}…", "x".repeat(60)));
    }
}
