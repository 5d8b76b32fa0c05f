//! How bash, zsh and fish ask for completions, and how they are answered.
//!
//! The first line of an answer says what is wanted: `files` or `directories`, which the shell
//! completes itself, or `words`, which follow, one per line. clap's own scripts have rtops
//! list the files and, in bash, insert their names unquoted: a file with a crafted name would
//! run a command as soon as Enter is pressed.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use clap::{Command, ValueEnum};
use clap_complete::{
    engine::{CompletionCandidate, complete},
    env::EnvCompleter,
};

use super::paths;

/// Set by clap's scripts, which rtops used before: bash would insert all lines of
/// an answer as one word, so it gets none.
const FORMER: &str = "_CLAP_IFS";

/// A shell that knows how to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shell {
    /// 4.4 or newer.
    Bash,
    /// With its completion system, `compinit`.
    Zsh,
    /// 3.1 or newer.
    Fish,
}

impl Shell {
    /// All shells.
    pub const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// The name of the script in a package; docs/operate/install.md says where it goes.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "rtops.bash",
            Self::Zsh => "_rtops",
            Self::Fish => "rtops.fish",
        }
    }

    /// Returns the script that makes the shell ask this program.
    #[must_use]
    pub fn script(self, program: &str) -> String {
        let script = match self {
            Self::Bash => include_str!("rtops.bash"),
            Self::Zsh => include_str!("rtops.zsh"),
            Self::Fish => include_str!("rtops.fish"),
        };
        script.replace("PROGRAM", &self.quoted(program))
    }

    fn quoted(self, word: &str) -> String {
        match self {
            Self::Bash | Self::Zsh => format!("'{}'", word.replace('\'', r"'\''")),
            Self::Fish => format!("'{}'", word.replace('\\', r"\\").replace('\'', r"\'")),
        }
    }

    /// Formats a word with the help that the shell shows beside it, if it shows any.
    fn line(self, word: &str, help: Option<&str>) -> String {
        match (self, help) {
            (Self::Zsh, Some(help)) => format!("{word}:{help}"),
            (Self::Fish, Some(help)) => format!("{word}\t{help}"),
            (Self::Bash, _) | (_, None) => word.to_owned(),
        }
    }
}

impl EnvCompleter for Shell {
    fn name(&self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        _variable: &str,
        _name: &str,
        _bin: &str,
        program: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        to.write_all(self.script(program).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        directory: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        if env::var_os(FORMER).is_some() {
            return Ok(());
        }
        // The last word is the one at the cursor.
        let index = words.len().saturating_sub(1);
        let offered = complete(command, words, index, directory)?;
        if let Some(wanted) = paths::wanted(&offered) {
            return writeln!(to, "{wanted}");
        }
        writeln!(to, "words")?;
        for candidate in &offered {
            if let Some(word) = harmless(candidate) {
                let help = candidate.get_help().map(ToString::to_string);
                let help = help.as_deref().and_then(|help| help.lines().next());
                writeln!(to, "{}", self.line(word, help))?;
            }
        }
        Ok(())
    }
}

/// Returns a word that no shell takes for more than a word,
/// wherever it appears: bash inserts it as it is.
fn harmless(candidate: &CompletionCandidate) -> Option<&str> {
    let word = candidate.get_value().to_str()?;
    let plain = |c: char| c.is_alphanumeric() || "-_.+@=".contains(c);
    (!word.is_empty() && !word.starts_with('=') && word.chars().all(plain)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_offered_that_a_shell_acts_on() {
        for word in ["gateway", "--color=auto", "größe", "a.b_c+d@e", "4711"] {
            assert_eq!(harmless(&word.into()), Some(word));
        }
        for word in [
            "", "=ls", "a b", "$(id)", "a;b", "`id`", "a*", "a\nb", "~a", "a:b", "a'", "a\"",
            "a|b", "a>b", "{a,b}", "a\\b", "!1", "#", "a&", "\u{a0}", "%1", "^a",
        ] {
            assert_eq!(harmless(&word.into()), None, "{word:?}");
        }
    }

    #[test]
    fn a_program_of_any_name_is_quoted() {
        assert_eq!(Shell::Bash.quoted("/a b/$'x"), r"'/a b/$'\''x'");
        assert_eq!(Shell::Fish.quoted(r"/a\'x"), r"'/a\\\'x'");
    }
}
