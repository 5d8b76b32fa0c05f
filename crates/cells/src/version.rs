//! Finds the versions of tokio in a program, by the source paths that its panics would print.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    ops::{ControlFlow, Range},
    path::Path,
};

use memchr::memmem;
use rtops_image::{Backing, Contents, Image, Region};

/// Precedes the version in the path of a source file.
const BEFORE: &[u8] = b"tokio-";
/// Follows the version.
const BEHIND: &[u8] = b"/src/";
/// The most bytes of constants that are searched: more than the largest programs have.
const MOST: u64 = 1 << 30;
/// How much is searched at a time, and how much of the next
/// piece is searched with it, so that no path is cut.
const PIECE: u64 = 1 << 20;
const OVERLAP: u64 = 64;

/// A version of tokio.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// The major version: the 1 of 1.54.2.
    pub major: u32,
    /// The minor version: the 54.
    pub minor: u32,
    /// The patch version: the 2.
    pub patch: u32,
}

impl Version {
    /// The oldest version whose tasks are found.
    pub const OLDEST: Self = Self::new(1, 20, 0);
    /// The newest version that was tested. Later ones may have the same layouts.
    pub const NEWEST: Self = Self::new(1, 54, u32::MAX);

    const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Parses the version that `text` begins with.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = memmem::find(text, BEHIND)?;
        let text = std::str::from_utf8(text.get(..end)?).ok()?;
        let mut numbers = text.splitn(3, '.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self::new(next()?, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Returns all versions that the constants of an image name, oldest first; none if the
/// program's paths were remapped.
pub(crate) fn versions(image: &impl Image) -> Vec<Version> {
    let mut found = BTreeSet::new();
    let mut left = MOST;
    let mixed: HashSet<&Path> = image
        .regions()
        .iter()
        .filter_map(begins_with_code)
        .collect();
    for region in image.regions() {
        if !has_constants(region, &mixed) {
            continue;
        }
        let looked = for_each_piece(image, &region.range, &mut left, |bytes| {
            for at in memmem::find_iter(bytes, BEFORE) {
                let behind = bytes.get(at + BEFORE.len()..).unwrap_or_default();
                let length = behind.len().min(OVERLAP as usize / 2);
                found.extend(behind.get(..length).and_then(Version::parse));
            }
        });
        if looked.is_break() {
            break;
        }
    }
    found.into_iter().collect()
}

/// Returns the file of a region that holds both its headers and code. Linkers that give
/// code its own segment put the headers elsewhere; others put constants next to the two.
fn begins_with_code(region: &Region) -> Option<&Path> {
    match &region.backing {
        Backing::File { path, offset } if region.access.execute && offset.0 == 0 => Some(path),
        _ => None,
    }
}

fn has_constants(region: &Region, mixed: &HashSet<&Path>) -> bool {
    let access = region.access;
    let Backing::File { path, .. } = &region.backing else {
        return false;
    };
    access.read
        && !access.write
        && (!access.execute || mixed.contains(&**path))
        && region.contents == Contents::Present
}

fn for_each_piece(
    image: &impl Image,
    range: &Range<u64>,
    left: &mut u64,
    mut look: impl FnMut(&[u8]),
) -> ControlFlow<()> {
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(PIECE + OVERLAP);
        *left = match left.checked_sub(length) {
            Some(left) => left,
            None => return ControlFlow::Break(()),
        };
        buffer.resize(usize::try_from(length).unwrap_or(0), 0);
        // Unreadable constants name nothing.
        if image.read(at, &mut buffer).is_ok() {
            look(&buffer);
        }
        at += PIECE;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_between_the_name_and_the_sources() {
        let is = |text: &[u8], expected: Option<[u32; 3]>| {
            let version = expected.map(|[a, b, c]| Version::new(a, b, c));
            assert_eq!(Version::parse(text), version, "{}", text.escape_ascii());
        };
        is(b"1.8.1/src/runtime/mod.rs", Some([1, 8, 1]));
        is(b"1.54.1/src/", Some([1, 54, 1]));
        // tokio-util, and what is no version.
        is(b"util-0.7.1/src/", None);
        is(b"1.54/src/", None);
        is(b"1.0.0-alpha.2/src/", None);
        is(b"1.54.1", None);
        is(b"", None);
    }

    #[test]
    fn the_newest_has_any_patch() {
        assert!(Version::new(1, 54, 7) < Version::NEWEST);
        assert!(Version::new(1, 55, 0) > Version::NEWEST);
        assert!(Version::new(1, 19, 9) < Version::OLDEST);
    }
}
