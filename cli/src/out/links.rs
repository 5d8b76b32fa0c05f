//! Source places as links that a terminal follows, in the format that the user's editor knows.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use rtops_files::{NamedBy, Regular};
use rtops_render::style;
use rtops_symbols::Place;

use crate::dump::host;

/// Names for formats, the same as ripgrep's.
const ALIASES: [(&str, &str); 11] = [
    ("cursor", "cursor://file{path}:{line}:{column}"),
    ("default", "file://{host}{path}"),
    ("file", "file://{host}{path}"),
    ("grep+", "grep+://{path}:{line}"),
    ("kitty", "file://{host}{path}#{line}"),
    (
        "macvim",
        "mvim://open?url=file://{path}&line={line}&column={column}",
    ),
    ("none", ""),
    (
        "textmate",
        "txmt://open?url=file://{path}&line={line}&column={column}",
    ),
    ("vscode", "vscode://file{path}:{line}:{column}"),
    (
        "vscode-insiders",
        "vscode-insiders://file{path}:{line}:{column}",
    ),
    ("vscodium", "vscodium://file{path}:{line}:{column}"),
];

/// The parts of a link's URL; empty if there are to be no links.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkFormat(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Path,
    Line,
    Column,
    Host,
}

impl FromStr for LinkFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let alias = ALIASES.iter().find(|(name, _)| *name == text);
        let mut rest = alias.map_or(text, |(_, format)| format);
        if rest.is_empty() {
            return Ok(Self::default());
        }
        if !begins_with_scheme(rest) || rest.chars().any(char::is_control) {
            let names: Vec<&str> = ALIASES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "a format begins with a scheme, as in `file://{{path}}`, or is one of {}",
                names.join(", ")
            ));
        }
        let mut parts = Vec::new();
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or("a `{` has no `}`")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name {
                "path" => Part::Path,
                "line" => Part::Line,
                "column" => Part::Column,
                "host" => Part::Host,
                _ => {
                    return Err(format!(
                        "there is no variable {{{name}}}, but {{path}}, {{line}}, {{column}} and {{host}}"
                    ));
                }
            });
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        if !parts.contains(&Part::Path) {
            return Err("a format has the variable {path}".to_owned());
        }
        Ok(Self(parts))
    }
}

impl LinkFormat {
    fn address(&self, path: &Path, line: &str, column: &str, host: &str) -> String {
        let mut address = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => address.push_str(text),
                Part::Path => encode(&mut address, path.as_os_str().as_encoded_bytes()),
                Part::Line => address.push_str(line),
                Part::Column => address.push_str(column),
                Part::Host => encode(&mut address, host.as_bytes()),
            }
        }
        address
    }
}

/// Whether a text begins with a URL scheme, such as `file:`.
fn begins_with_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

/// Appends bytes, escaped so that they have no special meaning in a URL.
fn encode(address: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(byte) {
            address.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            write!(address, "%{byte:02X}").ok();
        }
    }
}

/// Links to files on this machine.
#[derive(Debug)]
pub struct Links<'a> {
    format: &'a LinkFormat,
    host: String,
    /// The directories of the files that are shown without them.
    directories: BTreeSet<PathBuf>,
    /// Files by the text that is shown for them: each is shown many times.
    known: RefCell<HashMap<String, Option<PathBuf>>>,
}

impl<'a> Links<'a> {
    /// Makes links for these places, some of which are shown without their directories, and for
    /// files below `directories`. Returns `None` if there are to be no links.
    pub fn new<'p>(
        format: &'a LinkFormat,
        mut directories: Vec<PathBuf>,
        places: impl Iterator<Item = &'p Place>,
    ) -> Option<Self> {
        if format.0.is_empty() {
            return None;
        }
        directories.extend(places.filter_map(|place| {
            let shown = place.to_string();
            let (file, ..) = parts(&shown)?;
            Some(PathBuf::from(place.file.strip_suffix(file)?))
        }));
        Some(Self {
            format,
            host: host(),
            directories: directories.into_iter().collect(),
            known: RefCell::default(),
        })
    }

    /// Returns the file that is meant, if it exists.
    fn find(&self, shown: &str) -> Option<PathBuf> {
        // The path comes from the target, which may lie.
        let is_there = |path: &PathBuf| Regular::at(path, NamedBy::Target).is_ok();
        if Path::new(shown).is_absolute() {
            return Some(PathBuf::from(shown)).filter(is_there);
        }
        let directories = self.directories.iter();
        directories
            .map(|directory| directory.join(shown))
            .find(|path| path.is_absolute() && is_there(path))
    }
}

impl style::Links for Links<'_> {
    fn address(&self, place: &str) -> Option<String> {
        let (file, line, column) = parts(place)?;
        let mut known = self.known.borrow_mut();
        let path = match known.get(file) {
            Some(path) => path,
            None => known
                .entry(file.to_owned())
                .or_insert_with(|| self.find(file)),
        };
        let path = path.as_ref()?;
        Some(self.format.address(path, line, column, &self.host))
    }
}

/// Splits `file:line:column` or `file:line`; an unknown column is taken as the first.
fn parts(place: &str) -> Option<(&str, &str, &str)> {
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let (rest, last) = place.rsplit_once(':')?;
    if !is_number(last) {
        return None;
    }
    match rest.rsplit_once(':') {
        Some((file, line)) if is_number(line) => Some((file, line, last)),
        _ => Some((rest, last, "1")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_render::style::Links as _;

    use super::*;

    #[test]
    fn formats_have_a_scheme_and_a_path() {
        for (name, _) in ALIASES {
            assert!(name.parse::<LinkFormat>().is_ok(), "{name}");
        }
        assert_eq!("".parse(), Ok(LinkFormat::default()));
        for wrong in [
            "{path}",
            "vscoded",
            "file://{path",
            "file://{file}",
            "file://nowhere",
            "1file://{path}",
            "file://\x1b{path}",
        ] {
            assert!(wrong.parse::<LinkFormat>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_files_that_are_there_are_linked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        std::fs::write(folder.path().join("src/a b.rs"), "").unwrap();
        let format = "editor://{host}{path}?l={line}&c={column}".parse().unwrap();
        let directories = vec![folder.path().to_owned(), PathBuf::from("relative")];
        let mut links = Links::new(&format, directories, std::iter::empty()).unwrap();
        links.host = "h%st".to_owned();
        let folder = folder.path().display();
        let expected = format!("editor://h%25st{folder}/src/a%20b.rs?l=3&c=7");
        for place in [
            "src/a b.rs:3:7".to_owned(),
            format!("{folder}/src/a b.rs:3:7"),
        ] {
            assert_eq!(links.address(&place).as_ref(), Some(&expected), "{place}");
        }
        let without_column = expected.replace("c=7", "c=1");
        assert_eq!(links.address("src/a b.rs:3"), Some(without_column));
        for none in ["src/b.rs:3:7", "src:3:7", "src/a b.rs", "src/a b.rs:x", ""] {
            assert_eq!(links.address(none), None, "{none}");
        }
        assert!(Links::new(&LinkFormat::default(), Vec::new(), std::iter::empty()).is_none());
    }

    #[test]
    fn a_place_that_is_shown_without_its_directory_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("registry/src/index/hyper-1.0.0/lib.rs");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let place = Place {
            file: file.to_str().unwrap().to_owned(),
            line: 3,
            column: None,
        };
        let format = "file://{path}".parse().unwrap();
        let links = Links::new(&format, Vec::new(), [&place].into_iter()).unwrap();
        let shown = place.to_string();
        assert_eq!(shown, "hyper-1.0.0/lib.rs:3");
        let address = format!("file://{}", file.display());
        assert_eq!(links.address(&shown), Some(address));
    }
}
