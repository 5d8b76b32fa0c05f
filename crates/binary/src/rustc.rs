//! Finds out which compiler built a program, from a small part of it.

use std::{fmt, ops::ControlFlow, str};

use memchr::memmem::Finder;
use rtops_elf::{Elf, ReadError};
use serde::{Deserialize, Serialize};

/// The most bytes of the compilers' remarks that are read.
const MAX_COMMENT: u64 = 64 << 10;
/// The most bytes of constants that are searched for the sources of the standard library.
/// Every program without a remark of rustc costs this much; a Rust program has such paths
/// throughout its constants.
const MAX_CONSTANTS: u64 = 1 << 20;
/// The longest version that is accepted, in bytes.
const MAX_VERSION: usize = 100;
/// Precedes the version in a remark.
const REMARK: &str = "rustc version ";
/// Precedes the version in the paths of the standard library, as distributions build it.
const RELEASE: &[u8] = b"/rustc-";
/// Precedes the commit in these paths, as the Rust project builds it.
const COMMIT: &[u8] = b"/rustc/";
/// The number of digits of a commit.
const COMMIT_LENGTH: usize = 40;

/// A compiler.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Rustc {
    /// The version as `rustc --version` prints it, or only the number:
    /// `1.95.0 (59807616e 2026-04-14)`, or `1.95.0`.
    Version(String),
    /// The commit that it was built from; the program does not have its version.
    Commit(String),
}

impl Rustc {
    /// Returns the version without what follows in parentheses, or the start of the commit.
    #[must_use]
    pub fn short(&self) -> &str {
        match self {
            Self::Version(version) => version.split(' ').next().unwrap_or_default(),
            Self::Commit(commit) => commit.get(..9).unwrap_or(commit),
        }
    }
}

impl fmt::Display for Rustc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => f.write_str(version),
            Self::Commit(commit) => write!(f, "of commit {commit}"),
        }
    }
}

/// Finds the compiler of the program's own crate; `None` if there is no sign of Rust.
pub(crate) fn find(elf: &Elf) -> Result<Option<Rustc>, ReadError> {
    if let Some(section) = elf.section(".comment") {
        let remarks = elf.bytes(section, MAX_COMMENT).unwrap_or_default();
        // Remarks are in linking order, which begins with the program's own crate.
        let version = remarks.split(|byte| *byte == 0).find_map(version);
        if version.is_some() {
            return Ok(version);
        }
    }
    let Some(section) = elf.section(".rodata") else {
        return Ok(None);
    };
    let (commit, release) = (Finder::new(COMMIT), Finder::new(RELEASE));
    let mut found = None;
    elf.search(section, MAX_CONSTANTS, |piece| {
        let behind = |finder: &Finder<'_>, read: fn(&[u8]) -> Option<Rustc>| {
            let length = finder.needle().len();
            let mut places = finder.find_iter(piece);
            places.find_map(|place| read(piece.get(place + length..)?))
        };
        found = behind(&commit, from_commit).or_else(|| behind(&release, from_release));
        match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    })?;
    Ok(found)
}

/// Parses `rustc version 1.95.0 (59807616e 2026-04-14)`.
fn version(remark: &[u8]) -> Option<Rustc> {
    let version = str::from_utf8(remark).ok()?.strip_prefix(REMARK)?;
    let is_one = version.starts_with(|first: char| first.is_ascii_digit());
    (is_one && version.len() <= MAX_VERSION).then(|| Rustc::Version(version.to_owned()))
}

/// Parses `59807616e1fa2540724bfbac14d7976d7e4a3860/library/…`.
fn from_commit(path: &[u8]) -> Option<Rustc> {
    let (commit, rest) = path.split_at_checked(COMMIT_LENGTH)?;
    let is_commit = commit.iter().all(u8::is_ascii_hexdigit) && rest.starts_with(b"/");
    let commit = str::from_utf8(commit).ok().filter(|_| is_commit)?;
    Some(Rustc::Commit(commit.to_owned()))
}

/// Parses `1.63.0/library/…`, perhaps with a suffix.
fn from_release(path: &[u8]) -> Option<Rustc> {
    let path = path.get(..MAX_VERSION).unwrap_or(path);
    let end = memchr::memchr(b'/', path)?;
    let (version, rest) = path.split_at_checked(end)?;
    let version = str::from_utf8(version).ok()?.trim_end_matches("-src");
    let is_version = version.split('.').count() == 3
        && version.starts_with(|first: char| first.is_ascii_digit())
        && rest.starts_with(b"/library/");
    is_version.then(|| Rustc::Version(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_paths_are_told_from_their_like() {
        let shown = |rustc: Option<Rustc>| rustc.map(|rustc| rustc.to_string());
        assert_eq!(
            shown(version(b"rustc version 1.95.0 (59807616e 2026-04-14)")).as_deref(),
            Some("1.95.0 (59807616e 2026-04-14)")
        );
        for remark in ["GCC: (Debian 12.2.0-14) 12.2.0", "rustc version ", "rustc"] {
            assert_eq!(version(remark.as_bytes()), None, "{remark}");
        }
        assert_eq!(
            shown(from_release(b"1.63.0/library/core/src/str/mod.rs")).as_deref(),
            Some("1.63.0")
        );
        assert_eq!(
            shown(from_release(b"1.75.0-src/library/core/src/lib.rs")).as_deref(),
            Some("1.75.0")
        );
        for path in [
            "demangle-0.1.21/src/lib.rs",
            "1.63.0/vendor/x",
            "1.63.0",
            "",
        ] {
            assert_eq!(from_release(path.as_bytes()), None, "{path}");
        }
        let commit = "59807616e1fa2540724bfbac14d7976d7e4a3860";
        let path = format!("{commit}/library/std/src/panic.rs");
        assert_eq!(
            from_commit(path.as_bytes()).as_ref().map(Rustc::short),
            Some("59807616e")
        );
        for path in [commit, "59807616e/library/std", ""] {
            assert_eq!(from_commit(path.as_bytes()), None, "{path}");
        }
    }
}
