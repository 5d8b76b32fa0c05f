//! What a shell offers when TAB is pressed: commands, options, and the processes that can be asked
//! at that moment.

use std::env;

use clap::Command;
use clap_complete::{CompleteEnv, engine::CompletionCandidate};
use rtops_report::escape::escape;

use crate::{
    process::Reader,
    survey::{Answer, survey},
};

/// Set by the shell's completion script. clap's own default could be set for another reason.
pub const VARIABLE: &str = "RTOPS_COMPLETE";
/// A longer command line is cut: a shell shows a list.
const MAX_HELP: usize = 60;

/// Answers the shell, if it was a shell that started rtops.
///
/// # Errors
/// When the shell is not known or the answer can't be written.
pub fn answer(command: fn() -> Command) -> Result<bool, clap::Error> {
    CompleteEnv::with_factory(|| offered(command()))
        .var(VARIABLE)
        .bin("rtops")
        .try_complete(env::args_os(), env::current_dir().ok().as_deref())
}

/// The command with its options behind everything else: they are offered after a dash, or where
/// there is nothing else.
fn offered(command: Command) -> Command {
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

/// The processes that have an agent: names that only one of them has, then process ids.
pub fn targets() -> Vec<CompletionCandidate> {
    let (Ok(found), Ok(reader)) = (survey(|_| Ok(())), Reader::new()) else {
        return Vec::new();
    };
    let mut names: Vec<(String, String)> = Vec::new();
    let mut pids = Vec::new();
    for surveyed in found {
        // A process that ended meanwhile is not offered.
        let Some(figures) = reader.figures(surveyed.pid) else {
            continue;
        };
        pids.push((surveyed.pid.to_string(), figures.command.clone()));
        let name = match surveyed.answer {
            Answer::Given(hello, ()) => hello.name,
            Answer::Silent | Answer::Wrong(_) => figures.name,
        };
        names.push((name, figures.command));
    }
    let unique = |name: &str| names.iter().filter(|(other, _)| other == name).count() == 1;
    let names = names
        .iter()
        .filter(|(name, _)| is_plain(name) && unique(name));
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

/// Whether a shell takes a name as it is. Some insert it without quotes, so that one which a
/// process chose with care would run a command of its choice.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_.+@".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
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
    fn only_names_that_a_shell_leaves_alone_are_offered() {
        for name in ["gateway", "api-2", "größe", "a.b_c+d@e"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", "-rf", "a b", "$(id)", "a;b", "`id`", "a*", "a\nb", "~a", "a:b",
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn help_is_short_and_harmless() {
        assert_eq!(help("/srv/a\t--port\n80"), "/srv/a\\t--port\\n80");
        assert_eq!(help(&"x".repeat(100)), format!("{}…", "x".repeat(60)));
    }
}
