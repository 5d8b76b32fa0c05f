//! Why a file was not read, or only in part.

use std::io;

use crate::Resource;

/// Why a file, or a part of it, was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file can't be read, or is cut short.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is not a file that this crate understands.
    #[error("it is no 64-bit ELF file")]
    NotElf,
    /// A part of it is too large to be read.
    #[error("{0} is too large to be read")]
    TooLarge(&'static str),
    /// A part of it makes no sense.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// It has more of a resource than is read.
    #[error("it has more {0} than are read")]
    Over(Resource),
}
