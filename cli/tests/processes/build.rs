//! The builds that are looked at here: the ones that `cargo test --workspace` makes.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::common::built;

/// A way to build the targets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Build {
    Dev,
    /// With an allocator that counts.
    Counting,
}

impl Build {
    /// Where the program is.
    pub fn path(self) -> &'static Path {
        static PATHS: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
        PATHS[self as usize].get_or_init(|| match self {
            Self::Dev => built("targets"),
            Self::Counting => built("targets-counting"),
        })
    }

    /// The gallery of leaks.
    pub fn gallery() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| built("gallery"))
    }

    /// The marked awaits that it lacks.
    pub fn lacks(self) -> &'static [&'static str] {
        &[]
    }
}
