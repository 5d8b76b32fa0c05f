//! Why a module's addresses have no names or no lines, and what would help.

use std::fmt;

use rtops_elf::Resource;

/// What a module lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lack {
    /// The file name of the module.
    pub module: String,
    /// What is missing, and why.
    pub reason: LackReason,
}

/// Why a module tells less than it could.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LackReason {
    /// It was built without line tables.
    NoLineTables,
    /// It has no symbol table but that of its exported functions, and no debug file was found.
    Stripped,
    /// The file at its path isn't the one that runs.
    BuildIdDiffers,
    /// A file is there, but neither it nor the running module has a build-id to compare.
    Unverified,
    /// No file was found; the text is the system's reason.
    NotFound(String),
    /// The process ran elsewhere, or its file is gone or another one by now.
    Elsewhere,
    /// The path that the target named isn't one to open.
    PathRefused,
    /// The file isn't a regular one.
    NotRegular,
    /// The file lies on a file system of this kind, where to read it may wait for ever or have an
    /// effect.
    FileSystem(&'static str),
    /// Its symbols or its debug info have more of something than is read.
    OverBudget(Resource),
    /// The file can't be understood; the text says which part.
    Malformed(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.module, self.reason)
    }
}

impl fmt::Display for LackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLineTables => {
                f.write_str("no line tables; build with debug = \"line-tables-only\" or more")
            }
            Self::Stripped => {
                f.write_str("stripped; give a directory with its debug file by --symbols")
            }
            Self::Elsewhere => {
                f.write_str("its file is not here; give a directory that has it by --symbols")
            }
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
            Self::Malformed(part) => write!(f, "malformed ELF file ({part})"),
        }
    }
}
