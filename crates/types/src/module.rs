//! The executable and the libraries that a process has loaded.

use std::ops::Range;

use crate::Svma;

/// A loaded ELF file. Addresses are those of the process that loaded it.
///
/// A module that another process reports is untrusted input.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Module {
    /// The path it was loaded from, in the mount namespace of the process, lossily converted:
    /// followed by ` (deleted)` if the main executable was replaced, and `[vdso]` for the vDSO.
    pub path: String,
    /// The GNU build-id; empty if there is none.
    pub build_id: Vec<u8>,
    /// Added to an address in the file to get the address in memory,
    /// modulo 2⁶⁴; 0 for a fixed-address executable.
    pub load_bias: u64,
    /// The range from the start of the lowest to the end of the highest executable segment.
    pub code: Range<u64>,
    /// The kind of module.
    pub kind: ModuleKind,
}

impl Module {
    /// Returns the address in the file of an address in memory.
    #[must_use]
    pub const fn svma(&self, address: u64) -> Svma {
        Svma(address.wrapping_sub(self.load_bias))
    }

    /// Returns the address in memory of an address in the file.
    #[must_use]
    pub const fn address(&self, svma: Svma) -> u64 {
        svma.0.wrapping_add(self.load_bias)
    }
}

/// What kind of module it is, which decides where its file is found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum ModuleKind {
    /// The program itself.
    MainExecutable,
    /// A shared library, linked or opened later; also the dynamic loader.
    Library,
    /// Code that the kernel maps into every process; it has no file.
    Vdso,
}
