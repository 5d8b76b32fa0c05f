//! A frame of a stack, and its place in the source.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use rtops_symbols::Name;
pub use rtops_symbols::Place;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::own;

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
