//! The executable and the libraries that a process has loaded.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use rtops_types::{FileOffset, Module, ModuleKind};

use crate::Refused;

/// A [`Module`], and what only the image knows of it. Addresses are those of the process.
#[derive(Clone, Debug)]
pub struct ImageModule {
    /// Where it was loaded from, as the kernel gave it: with ` (deleted)` behind it where the file was
    /// gone, `[vdso]` for the vDSO.
    pub path: Arc<Path>,
    /// The GNU build-id; empty where there is none or it is not known.
    pub build_id: Vec<u8>,
    /// What was added to the addresses in the file, modulo 2⁶⁴; 0 for a fixed-address executable.
    pub load_bias: u64,
    /// From the lowest to the highest page of its segments.
    pub mapped: Range<u64>,
    /// From the start of the lowest to the end of the highest executable segment.
    pub code: Range<u64>,
    /// What kind of module it is.
    pub kind: ModuleKind,
    /// The file with its code, opened, or why there is none.
    pub file: Result<ModuleFile, NoFile>,
    /// What its thread-local variables begin with.
    pub tls: Option<TlsSegment>,
}

impl ImageModule {
    /// What is known of a module everywhere.
    #[must_use]
    pub fn module(&self) -> Module {
        Module {
            path: self.path.to_string_lossy().into_owned(),
            build_id: self.build_id.clone(),
            load_bias: self.load_bias,
            code: self.code.clone(),
            kind: self.kind,
        }
    }
}

/// The file of a module, found on this machine.
#[derive(Clone, Debug)]
pub struct ModuleFile {
    /// Opened for reading. It is the build that was running, as far as that can be told.
    pub file: Arc<File>,
    /// Where it was found.
    pub path: PathBuf,
}

/// Why a module has no file.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFile {
    /// No such file.
    #[error("{0} does not exist here")]
    NotFound(PathBuf),
    /// A file, but not the one that was running.
    #[error("{0} is another build than the one that was running")]
    OtherBuild(PathBuf),
    /// The file was replaced or removed, and nothing tells whether this is the one.
    #[error("{0} was replaced or removed while the program ran")]
    Replaced(PathBuf),
    /// No ELF file for this processor.
    #[error("{0} is no 64-bit ELF file")]
    NotElf(PathBuf),
    /// It is a part of this file, as of an archive.
    #[error("{0} is more than this one ELF file")]
    Embedded(PathBuf),
    /// It was not opened, on purpose.
    #[error("{0} was not opened: {1}")]
    Refused(PathBuf, Refused),
    /// It can't be opened.
    #[error("{0} can't be read: {1}")]
    Io(PathBuf, io::ErrorKind),
    /// The vDSO has no file; all of it is in memory.
    #[error("it is a part of the kernel")]
    InMemory,
}

/// What the thread-local variables of a module begin with (`PT_TLS`): what a thread's own copy holds
/// before the first write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsSegment {
    /// Where in memory the initial bytes lie.
    pub address: u64,
    /// Where in the file they lie.
    pub offset: FileOffset,
    /// How many bytes there are.
    pub initialized: u64,
    /// How many bytes a thread's copy has; the rest begins as zeros.
    pub size: u64,
    /// The alignment of a thread's copy, in bytes.
    pub align: u64,
}
