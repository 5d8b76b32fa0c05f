//! Why a module's addresses have no names or no lines, and what would help.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use rtops_elf::Resource;

use crate::debug_files::{MAX_DEPTH, MAX_ENTRIES};

/// What a module lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lack {
    /// The file name of the module.
    pub module: String,
    /// What is missing, and why.
    pub reason: LackReason,
}

/// Why a module offers less than it could.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "child", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum LackReason {
    /// These crates were built without line tables.
    NoLineTables(BTreeSet<String>),
    /// These crates were built with line tables only, which leave
    /// out the names of inlined `async fn`s.
    NoInlinedNames(BTreeSet<String>),
    /// It has no symbol table but that of its exported functions, and no debug file was found.
    Stripped,
    /// The file at its path isn't the one that runs.
    BuildIdDiffers,
    /// A file was found by its path, but the running module has no build-id to compare.
    Unverified,
    /// No file was found; the text is the system's reason.
    NotFound(String),
    /// No file in the directories that the user named has this build-id.
    NotGiven(Missed),
    /// The process ran elsewhere, or its file is gone or was replaced.
    Elsewhere,
    /// The path that the target named isn't one to open.
    PathRefused,
    /// The file isn't a regular one.
    NotRegular,
    /// The file is on a file system of this kind, where reading may wait forever or have an effect.
    FileSystem(Cow<'static, str>),
    /// Its symbols or its debug info have more of something than is read.
    OverBudget(Resource),
    /// The file can't be understood; the text says which part.
    Malformed(String),
    /// The process that was to read it did not send everything; the text says what became of it.
    Unread(String),
}

/// A file that was not found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "child", derive(serde::Deserialize, serde::Serialize))]
pub struct Missed {
    /// Its build-id, in hexadecimal digits.
    pub build_id: String,
    /// Whether the directories have more files than were looked at.
    pub is_cut: bool,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.module, self.reason)
    }
}

/// Formats the first names of crates, and how many more there are.
fn list(crates: &BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let mut list: Vec<&str> = crates.iter().take(SHOWN).map(String::as_str).collect();
    let more = format!("{} more", crates.len().saturating_sub(SHOWN));
    if crates.len() > SHOWN {
        list.push(&more);
    }
    match list.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => list.concat(),
    }
}

impl fmt::Display for LackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLineTables(crates) => write!(
                f,
                "no lines of {}; build with debug = \"limited\", or \"line-tables-only\" for lines without \
                 the names of inlined async functions",
                list(crates)
            ),
            Self::NoInlinedNames(crates) => write!(
                f,
                "no names of inlined async functions of {}; build with debug = \"limited\" instead of \
                 \"line-tables-only\"",
                list(crates)
            ),
            Self::Stripped => {
                f.write_str("stripped; give a directory with its debug file by --symbols")
            }
            Self::Elsewhere => {
                f.write_str("its file is not here; give a directory that has it by --symbols")
            }
            Self::NotGiven(Missed {
                build_id,
                is_cut: false,
            }) => write!(
                f,
                "no symbols; no file below the directories of --symbols, in /usr/lib/debug or in a cache of \
                 debuginfod has its build-id {build_id}"
            ),
            Self::NotGiven(Missed {
                build_id,
                is_cut: true,
            }) => write!(
                f,
                "no symbols; no file that was looked at below the directories of --symbols has its build-id \
                 {build_id}, and there are more than {MAX_ENTRIES} or deeper than {MAX_DEPTH} directories: name \
                 a directory that is nearer to it"
            ),
            Self::BuildIdDiffers => {
                f.write_str("build-id differs from the running one (replaced?)")
            }
            Self::Unverified => {
                f.write_str("no build-id, so the file can't be told to be the running one")
            }
            Self::NotFound(why) => write!(f, "no file with its symbols ({why})"),
            Self::PathRefused => f.write_str("its path is not an absolute, plain one; not opened"),
            Self::NotRegular => f.write_str("not a regular file; not read"),
            Self::FileSystem(kind) => write!(
                f,
                "on {kind}, where reading may wait or have an effect; give a directory with a copy by \
                 --symbols"
            ),
            Self::OverBudget(resource) => write!(
                f,
                "it has more {resource} than are read of one file; some names and lines are missing"
            ),
            Self::Unread(why) => write!(
                f,
                "the process that reads debug info {why}; what it had not told has no names"
            ),
            Self::Malformed(part) => write!(f, "malformed ELF file ({part})"),
        }
    }
}
