//! Finds out how an executable was built.
//!
//! [`recognize`] reads its headers and a few kilobytes, and says whether it is a Rust
//! program and which rustc built it: cheap enough for every running program. [`tokio`]
//! returns the versions of tokio in it, and [`Details::read`] the rest. [`child::Reader`]
//! does this in a separate process. What can't be known is `None`, never a guess.
//!
//! Nothing here trusts the file. It is read, never mapped, so that a file that is cut short
//! meanwhile is an error and not a SIGBUS. Sizes that it claims are checked against its own
//! size and a limit before memory is allocated. No other file that it names is opened.
#![forbid(unsafe_code)]

pub mod child;
mod packages;
mod panic;
mod rustc;
mod symbols;

use std::{collections::BTreeSet, fs::File, ops::ControlFlow, str, sync::Arc};

use memchr::memmem::Finder;
use rtops_elf::Elf;
pub use rtops_elf::{DebugLevel, ReadError};
use serde::{Deserialize, Serialize};

pub use crate::{
    packages::{Package, PackageKind},
    panic::PanicStrategy,
    rustc::Rustc,
    symbols::Lto,
};

/// The most bytes of constants that are searched for tokio's versions.
const MAX_CONSTANTS: u64 = 256 << 20;
/// The longest version that is accepted, in bytes.
const MAX_VERSION: usize = 64;
/// The most versions of tokio that are listed.
const MAX_VERSIONS: usize = 16;
/// The most bytes of a link to a debug file.
const MAX_LINK: u64 = 4096;

/// How a Rust program was built.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Built {
    /// The compiler of its own crate.
    pub rustc: Rustc,
    /// The versions of tokio in it.
    pub tokio: Vec<String>,
}

impl Built {
    /// Reads a program; `None` if it is not written in Rust.
    ///
    /// # Errors
    /// If the file can't be read or is no ELF file.
    pub fn read(program: &File) -> Result<Option<Self>, ReadError> {
        let Some(rustc) = recognize(program)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            rustc,
            tokio: tokio(program).unwrap_or_default(),
        }))
    }
}

/// How a program was built.
#[derive(Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Details {
    /// The compiler of its own crate; `None` if there is no sign of Rust.
    pub rustc: Option<Rustc>,
    /// The name of its own crate.
    pub crate_name: Option<String>,
    /// The GNU build-id.
    pub build_id: Option<Vec<u8>>,
    /// How much debug info it has.
    pub debug: Option<DebugLevel>,
    /// The file that its debug info was moved to.
    pub debug_link: Option<String>,
    /// What a panic does.
    pub panic: Option<PanicStrategy>,
    /// What was optimized when it was linked.
    pub lto: Option<Lto>,
    /// Whether it needs the dynamic linker.
    pub linking: Linking,
    /// Whether it can be loaded at any address.
    pub is_pie: bool,
    /// The versions of tokio that are linked, as far as they have panics with a source location.
    pub tokio: Vec<String>,
    /// The packages that went into it, if it carries the list of cargo-auditable.
    pub packages: Option<Result<Vec<Package>, String>>,
}

/// How a program gets its libraries.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Linking {
    /// From the dynamic linker.
    Dynamic,
    /// They are part of the program.
    Static,
}

impl Linking {
    /// Returns its name, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynamic => "dynamic",
            Self::Static => "static",
        }
    }
}

/// Returns the rustc that built the program; `None` if there is no sign of Rust. Reads at
/// most some kilobytes of a Rust program, and a megabyte of any other.
///
/// # Errors
/// If the file can't be read or is no ELF file.
pub fn recognize(file: &File) -> Result<Option<Rustc>, ReadError> {
    rustc::find(&open(file)?)
}

/// Returns the versions of tokio that are linked into a program, as far as they have panics
/// with a source location. Reads all its constants, but at most 256 MiB.
///
/// # Errors
/// If the file can't be read or is no ELF file.
pub fn tokio(file: &File) -> Result<Vec<String>, ReadError> {
    Ok(tokio_versions(&open(file)?).into_iter().collect())
}

impl Details {
    /// Reads everything that the file reveals.
    ///
    /// # Errors
    /// If the file can't be read or is no ELF file. A part that makes no sense counts as missing.
    pub fn read(file: &File) -> Result<Self, ReadError> {
        let elf = Arc::new(open(file)?);
        let told = symbols::read(&elf).and_then(Result::ok).unwrap_or_default();
        let rustc = rustc::find(&elf)?;
        let packages = packages::read(&elf);
        let packages = packages.map(|list| list.map_err(|error| error.to_string()));
        let mut tokio = tokio_versions(&elf);
        if let Some(Ok(packages)) = &packages {
            let listed = packages.iter().filter(|package| package.name == "tokio");
            tokio.extend(listed.map(|package| package.version.clone()));
        }
        Ok(Self {
            panic: rustc.as_ref().and_then(|_| panic::strategy(&elf)),
            rustc,
            crate_name: told.crate_name,
            build_id: elf.build_id(),
            debug: DebugLevel::of(&elf).ok(),
            debug_link: debug_link(&elf),
            lto: told.lto,
            linking: match elf.section(".interp") {
                Some(_) => Linking::Dynamic,
                None => Linking::Static,
            },
            is_pie: !elf.is_fixed(),
            tokio: tokio.into_iter().collect(),
            packages,
        })
    }
}

/// Opens a file with sections; one without is stripped of everything that is looked at here.
fn open(file: &File) -> Result<Elf, ReadError> {
    let elf = Elf::read(Arc::new(file.try_clone()?), &Arc::default())?;
    elf.has_sections().then_some(elf).ok_or(ReadError::NotElf)
}

/// Returns the name of the file that the debug info was moved to.
fn debug_link(elf: &Elf) -> Option<String> {
    let link = elf.bytes(elf.section(".gnu_debuglink")?, MAX_LINK).ok()?;
    let name = link.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Returns the versions in the paths of tokio's sources, which its panics name.
fn tokio_versions(elf: &Elf) -> BTreeSet<String> {
    let mut versions = BTreeSet::new();
    let Some(section) = elf.section(".rodata") else {
        return versions;
    };
    let path = Finder::new("tokio-");
    // Versions found before an error count.
    drop(elf.search(section, MAX_CONSTANTS, |piece| {
        for place in path.find_iter(piece) {
            let before = place.checked_sub(1).and_then(|before| piece.get(before));
            // Another crate's name may end like this.
            let is_start = !matches!(before, Some(b'-' | b'_'));
            let rest = piece.get(place + path.needle().len()..).unwrap_or_default();
            versions.extend(tokio_version(rest).filter(|_| is_start));
            if versions.len() >= MAX_VERSIONS {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }));
    versions
}

/// `1.54.1/src/runtime/…`
fn tokio_version(path: &[u8]) -> Option<String> {
    let path = path.get(..MAX_VERSION).unwrap_or(path);
    let (version, rest) = path.split_at_checked(memchr::memchr(b'/', path)?)?;
    let version = str::from_utf8(version).ok()?;
    let number = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = number.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = parts.clone().count() == 3 && parts.all(is_number);
    (is_version && rest.starts_with(b"/src/")).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_tokio_are_told_from_other_paths() {
        for (path, version) in [
            ("1.54.1/src/runtime/mod.rs", Some("1.54.1")),
            ("1.50.0-rc.1/src/lib.rs", Some("1.50.0-rc.1")),
            ("util-0.7.1/src/lib.rs", None),
            ("1.54/src/lib.rs", None),
            ("1.54.1/tests/x.rs", None),
            ("1.54.1", None),
            ("a.b.c/src/", None),
            ("", None),
        ] {
            assert_eq!(tokio_version(path.as_bytes()).as_deref(), version, "{path}");
        }
    }
}
