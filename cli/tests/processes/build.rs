//! The builds that these tests look at: those that `cargo test --workspace` makes.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::common::built;

/// A way to build the targets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Build {
    Dev,
    /// With a counting allocator.
    Counting,
}

impl Build {
    /// Returns the path of the program.
    pub fn path(self) -> &'static Path {
        static PATHS: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
        PATHS[self as usize].get_or_init(|| match self {
            Self::Dev => built("targets"),
            Self::Counting => built("targets-counting"),
        })
    }

    /// Returns the path of the gallery of leaks.
    pub fn gallery() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| built("gallery"))
    }

    /// Returns the names of marked awaits that this build lacks.
    pub fn lacks(self) -> &'static [&'static str] {
        &[]
    }
}
