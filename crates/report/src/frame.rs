//! A frame of a stack, and its place in the source.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use rtops_protocol::SourceLocation;
use rtops_symbols::{Location, Name};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{dump::Dump, own};

/// The number of a distinct frame: two frames that look the same have the same number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FrameId(pub(crate) usize);

/// A function, and the place in it; or a span, and the place where it was tracked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Frame {
    /// What it stands for.
    pub kind: FrameKind,
    /// The whole name, or the module and an offset.
    pub function: String,
    /// The name without generic arguments and compiler-made parts.
    pub name: String,
    /// What the name tells the rules.
    #[serde(skip)]
    pub known: Arc<Name>,
    /// Where it is in the source, if that is known.
    #[serde(flatten, serialize_with = "serialize_place")]
    pub place: Option<Place>,
    /// The module, where it is known.
    pub module: String,
    /// Whether it is of the target's own crates.
    pub own: bool,
}

impl Hash for Frame {
    /// Of what differs between most frames. Names are long, and the others follow from the whole one.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
        let line = self.place.as_ref().map(|place| (place.line, place.column));
        line.hash(state);
    }
}

impl Frame {
    /// Whether nothing is known of it but where it is, as of the stubs that lead to another library.
    pub(crate) fn is_nameless(&self) -> bool {
        let behind = self.function.strip_prefix(self.module.as_str());
        behind.is_some_and(|rest| rest.trim_start_matches('+').starts_with("0x"))
    }
}

/// What a line of an await tree stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// A function.
    Code,
    /// What is further in belongs to a span.
    Span,
}

/// A place in the source.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Place {
    /// The path, as the compiler saw it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, if it is known.
    pub column: Option<u32>,
}

/// The fields of a place, which are there and empty where it is not known.
fn serialize_place<S: Serializer>(place: &Option<Place>, to: S) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_struct("Place", 3)?;
    fields.serialize_field("file", &place.as_ref().map(|place| &place.file))?;
    fields.serialize_field("line", &place.as_ref().map(|place| place.line))?;
    fields.serialize_field("column", &place.as_ref().and_then(|place| place.column))?;
    fields.end()
}

/// A frame of one stack.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// What it looks like.
    pub frame: FrameId,
    /// Where the code goes on in the target.
    pub address: u64,
}

/// Where a span begins in a stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// How many of the stack's links are the span's own.
    pub length: usize,
    /// What it looks like.
    pub frame: FrameId,
}

impl Frame {
    /// The crate that a frame is of which is not the target's own, or the library; empty where that is not
    /// known.
    #[must_use]
    pub fn package(&self) -> &str {
        let place = self.place.as_ref();
        if let Some(package) = place.and_then(Place::package) {
            return package;
        }
        match self.crate_name() {
            Some("core" | "alloc" | "std") => "std",
            Some(name) => name,
            None => own::library(&self.module).unwrap_or_default(),
        }
    }

    /// The crate that the path of its function begins with.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        Some(self.name.split_once("::")?.0)
    }
}

impl Place {
    /// The place that a task or span was made at, where it is known.
    pub fn of_site(dump: &Dump, site: SourceLocation) -> Option<Self> {
        Some(Self {
            file: dump.string(site.file)?.to_owned(),
            line: site.line,
            column: Some(site.column).filter(|column| *column > 0),
        })
    }

    pub(crate) fn of_location(location: &Location) -> Self {
        Self {
            file: location.file.clone(),
            line: location.line,
            column: location.column,
        }
    }

    /// `file:line`, shortened as for people.
    #[must_use]
    pub fn line_of_file(&self) -> String {
        format!("{}:{}", shortened(&self.file), self.line)
    }

    /// The dependency that it is in, or `std`; `None` of a place in the target's own crates.
    fn package(&self) -> Option<&str> {
        own::package(&self.file, shortened(&self.file))
    }

    /// Whether it is in a dependency, in the standard library, or in that of C, whose own build names
    /// its files from where it was.
    pub fn is_foreign(&self) -> bool {
        self.package().is_some() || self.file.starts_with("./")
    }
}

impl fmt::Display for Place {
    /// `file:line:column`, which terminals and editors can open, with the way to a dependency or
    /// to the standard library left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shortened(&self.file), self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// The part of a path behind where cargo and rustup keep sources; other paths stay whole.
pub(crate) fn shortened(file: &str) -> &str {
    let behind = |marker: &str, parts: usize| {
        let (_, mut rest) = file.split_once(marker)?;
        for _ in 0..parts {
            (_, rest) = rest.split_once('/')?;
        }
        Some(rest)
    };
    if file.starts_with("/rustc/") {
        return behind("/library/", 0).unwrap_or(file);
    }
    behind("/registry/src/", 1)
        .or_else(|| behind("/git/checkouts/", 0))
        .or_else(|| behind("/lib/rustlib/src/rust/library/", 0))
        .unwrap_or(file)
}
