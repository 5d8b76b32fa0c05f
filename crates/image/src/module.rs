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

/// A [`Module`] with the properties that only the image knows. Addresses are those in the process.
#[derive(Clone, Debug)]
pub struct ImageModule {
    /// The path it was loaded from, as the kernel reported it: followed by ` (deleted)` if the file
    /// was gone, and `[vdso]` for the vDSO.
    pub path: Arc<Path>,
    /// The GNU build-id; empty if there is none or it is not known.
    pub build_id: Vec<u8>,
    /// Added to an address in the file to get the address in memory,
    /// modulo 2⁶⁴; 0 for a fixed-address executable.
    pub load_bias: u64,
    /// From the lowest to the highest page of its segments.
    pub mapped: Range<u64>,
    /// From the start of the lowest to the end of the highest executable segment.
    pub code: Range<u64>,
    /// The kind of module.
    pub kind: ModuleKind,
    /// The open file with its code, or why there is none.
    pub file: Result<ModuleFile, NoFile>,
    /// The initial contents of its thread-local variables.
    pub tls: Option<TlsSegment>,
}

impl ImageModule {
    /// Returns the properties that all kinds of modules share.
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
    /// The file, opened for reading. It is the build that was running, as far as can be told.
    pub file: Arc<File>,
    /// The path at which it was found.
    pub path: PathBuf,
}

/// Why a module has no file.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFile {
    /// There is no such file.
    #[error("{0} does not exist here")]
    NotFound(PathBuf),
    /// There is a file, but not the one that was running.
    #[error("{0} is another build than the one that was running")]
    OtherBuild(PathBuf),
    /// The file was replaced or removed, and whether this is the right one is unknown.
    #[error("{0} was replaced or removed while the program ran")]
    Replaced(PathBuf),
    /// It is no ELF file for this processor.
    #[error("{0} is no 64-bit ELF file")]
    NotElf(PathBuf),
    /// The module is only a part of this file, for example of an archive.
    #[error("{0} is more than this one ELF file")]
    Embedded(PathBuf),
    /// It was deliberately not opened.
    #[error("{0} was not opened: {1}")]
    Refused(PathBuf, Refused),
    /// It can't be opened.
    #[error("{0} can't be read: {1}")]
    Io(PathBuf, io::ErrorKind),
    /// The vDSO has no file; all of it is in memory.
    #[error("it is a part of the kernel")]
    InMemory,
}

/// The initial contents of a module's thread-local variables (`PT_TLS`): what a thread's own copy
/// holds before the first write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsSegment {
    /// The address of the initial bytes in memory.
    pub address: u64,
    /// The offset of the initial bytes in the file.
    pub offset: FileOffset,
    /// The number of initial bytes.
    pub initialized: u64,
    /// The size of a thread's copy, in bytes; the rest starts as zeros.
    pub size: u64,
    /// The alignment of a thread's copy, in bytes.
    pub align: u64,
}
