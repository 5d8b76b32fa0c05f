//! Frames of stacks and their places in the source.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use rtops_symbols::Name;
pub use rtops_symbols::Place;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::own;

/// The number of a distinct frame: frames that look the same have the same number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FrameId(pub(crate) usize);

/// A function and a place in it, or a span and the place where it was tracked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Frame {
    /// What the frame stands for.
    pub kind: FrameKind,
    /// The full name, or the module and an offset.
    pub function: String,
    /// The name without generic arguments and compiler-generated parts.
    pub name: String,
    /// What the wait-reason rules know from the name.
    #[serde(skip)]
    pub known: Arc<Name>,
    /// The place in the source, if known.
    #[serde(flatten, serialize_with = "serialize_place")]
    pub place: Option<Place>,
    /// The module, if known; otherwise empty.
    pub module: String,
    /// Whether the frame belongs to the target's own crates.
    pub own: bool,
}

impl Hash for Frame {
    /// Hashes only what tells most frames apart: names are long, and the other
    /// fields follow from the full name.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
        let line = self.place.as_ref().map(|place| (place.line, place.column));
        line.hash(state);
    }
}

impl Frame {
    /// Whether only its address is known, as for PLT stubs.
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
    /// The frames further in belong to a span.
    Span,
}

/// Serializes the fields of a place; all of them are present, and null if the place is unknown.
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
    /// What the frame looks like.
    pub frame: FrameId,
    /// The address where execution continues in the target.
    pub address: u64,
}

/// Where a span begins in a stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The number of links, counted from the innermost, that belong to the span.
    pub length: usize,
    /// What the span looks like.
    pub frame: FrameId,
}

impl Frame {
    /// Returns the crate of a foreign frame, or its library; empty if neither is known.
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

    /// Returns the first segment of the function's path, its crate.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        Some(self.name.split_once("::")?.0)
    }
}
