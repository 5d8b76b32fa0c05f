//! Reads the list of packages that cargo-auditable leaves in a program: JSON, compressed.

use std::io::Read;

use flate2::read::ZlibDecoder;
use rtops_elf::{Elf, ReadError};
use serde::{Deserialize, Serialize};

/// The most bytes of the compressed list.
const MAX_COMPRESSED: u64 = 4 << 20;
/// The most bytes of the list; one of a thousand packages has about a hundred thousand.
const MAX_LIST: u64 = 16 << 20;
/// The longest text about one package, in bytes.
const MAX_TEXT: usize = 4 << 10;
const WHAT: &str = "the list of packages";

/// A package that went into a program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from: `crates.io`, `git`, `local`, `registry` or another word.
    #[serde(default)]
    pub source: String,
    /// Whether it is part of the program or only of its build.
    #[serde(default)]
    pub kind: PackageKind,
    /// Whether this is the program's own package.
    #[serde(default, rename = "root")]
    pub is_root: bool,
}

/// What a package is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// It is linked into the program.
    #[default]
    Runtime,
    /// It ran while the program was built.
    Build,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl PackageKind {
    /// Returns its name, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Build => "build",
            Self::Other => "other",
        }
    }
}

#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

/// Reads the packages, sorted by name and version; `None` if the program carries no list.
pub(crate) fn read(elf: &Elf) -> Option<Result<Vec<Package>, ReadError>> {
    let section = elf.section(".dep-v0")?;
    let compressed = elf.bytes(section, MAX_COMPRESSED);
    Some(compressed.and_then(|compressed| unpack(&compressed)))
}

fn unpack(compressed: &[u8]) -> Result<Vec<Package>, ReadError> {
    let mut list = Vec::new();
    let malformed = |_| ReadError::Malformed(WHAT);
    ZlibDecoder::new(compressed)
        .take(MAX_LIST + 1)
        .read_to_end(&mut list)
        .map_err(malformed)?;
    if list.len() as u64 > MAX_LIST {
        return Err(ReadError::TooLarge(WHAT));
    }
    let list: List = serde_json::from_slice(&list).map_err(|_| ReadError::Malformed(WHAT))?;
    let mut packages = list.packages;
    let is_long = |text: &String| text.len() > MAX_TEXT;
    let has_long = |package: &Package| {
        [&package.name, &package.version, &package.source]
            .into_iter()
            .any(is_long)
    };
    if packages.iter().any(has_long) {
        return Err(ReadError::TooLarge("the name of a package"));
    }
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    fn packed(list: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(list).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_list_is_read_with_what_is_left_out_of_it() {
        let list = br#"{"format": 1, "packages": [
            {"name": "tokio", "version": "1.54.1", "source": "crates.io", "dependencies": [0]},
            {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
            {"name": "gateway", "version": "1.4.0", "source": "local", "root": true},
            {"name": "odd", "version": "1.0.0", "source": "local", "kind": "later"}]}"#;
        let packages = unpack(&packed(list)).unwrap();
        let names: Vec<_> = packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["cc", "gateway", "odd", "tokio"]);
        let kinds: Vec<_> = packages.iter().map(|package| package.kind).collect();
        let expected = [
            PackageKind::Build,
            PackageKind::Runtime,
            PackageKind::Other,
            PackageKind::Runtime,
        ];
        assert_eq!(kinds, expected);
        assert!(packages[1].is_root && !packages[3].is_root);
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let bomb = packed(&vec![b' '; usize::try_from(MAX_LIST).unwrap() + 10]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(unpack(&bomb), Err(ReadError::TooLarge(_))));
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&b""[..], b"no zlib", &packed(b"no JSON"), &packed(b"{}")] {
            assert!(matches!(unpack(bytes), Err(ReadError::Malformed(_))));
        }
    }
}
