//! Arguments that are files: rtops does not list files but leaves that to the shell.

use std::ffi::OsStr;

use clap::{Arg, Command, ValueHint};
use clap_complete::{ArgValueCompleter, engine::CompletionCandidate};

/// Ids of candidates that stand for everything the shell will offer.
const FILES: &str = "files";
const DIRECTORIES: &str = "directories";

/// Leaves every argument that is a path to the shell.
pub fn left_to_the_shell(command: Command) -> Command {
    command
        .mut_subcommands(left_to_the_shell)
        .mut_args(|argument| match wanted_by(&argument) {
            Some(wanted) => {
                let is_positional = argument.is_positional();
                argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
                    // clap also asks a positional argument about an option with its value.
                    let is_option = typed.as_encoded_bytes().starts_with(b"-");
                    let stand_in = CompletionCandidate::new("").id(Some(wanted.to_owned()));
                    Vec::from_iter((!(is_positional && is_option)).then_some(stand_in))
                }))
            }
            None => argument,
        })
}

fn wanted_by(argument: &Arg) -> Option<&'static str> {
    match argument.get_value_hint() {
        ValueHint::DirPath => Some(DIRECTORIES),
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => Some(FILES),
        _ => None,
    }
}

/// Returns what the shell has to complete itself, if anything.
pub fn wanted(offered: &[CompletionCandidate]) -> Option<&'static str> {
    let mut ids = offered.iter().filter_map(CompletionCandidate::get_id);
    ids.find_map(|id| [FILES, DIRECTORIES].into_iter().find(|wanted| id == wanted))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;
    use clap_complete::engine::complete;

    use super::*;
    use crate::args::Cli;

    /// Collects all options that take a path, each with the commands that lead to it.
    fn options_of(command: &Command, above: &[String], found: &mut Vec<(Vec<String>, String)>) {
        let path = command
            .get_arguments()
            .filter(|arg| wanted_by(arg).is_some());
        for argument in path {
            // An argument without a name is completed by its position.
            if let Some(long) = argument.get_long() {
                found.push((above.to_vec(), format!("--{long}")));
            }
        }
        for inner in command.get_subcommands() {
            let inside = [above, &[inner.get_name().to_owned()]].concat();
            options_of(inner, &inside, found);
        }
    }

    #[test]
    fn no_file_is_listed_for_any_option() {
        let mut options = Vec::new();
        options_of(&Cli::command(), &["rtops".to_owned()], &mut options);
        for option in [
            "--from",
            "--save",
            "--symbols",
            "--baseline",
            "--ignore-file",
            "--output",
        ] {
            assert!(options.iter().any(|(_, known)| known == option), "{option}");
        }
        for (command, option) in options {
            for value in [
                vec![option.clone(), "/".to_owned()],
                vec![format!("{option}=/")],
            ] {
                let words: Vec<_> = command
                    .iter()
                    .cloned()
                    .chain(value)
                    .map(Into::into)
                    .collect();
                let index = words.len() - 1;
                let mut offering = left_to_the_shell(Cli::command());
                let offered = complete(&mut offering, words, index, None).unwrap();
                let expected = match option.as_str() {
                    "--symbols" | "--sysroot" => DIRECTORIES,
                    _ => FILES,
                };
                assert_eq!(wanted(&offered), Some(expected), "{command:?} {option}");
                assert_eq!(offered.len(), 1, "{offered:?}");
            }
        }
    }
}
