//! The executable and the libraries that a process has loaded.

use std::ops::Range;

use crate::Svma;

/// A loaded ELF file. Addresses are those of the process that loaded it.
///
/// One that another process tells of is not to be trusted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Module {
    /// Where it was loaded from, in the mount namespace of the process, lossily converted: with
    /// ` (deleted)` behind it where the main executable was replaced, `[vdso]` for the vDSO.
    pub path: String,
    /// The GNU build-id; empty where there is none.
    pub build_id: Vec<u8>,
    /// What was added to the addresses in the file, modulo 2⁶⁴; 0 for a fixed-address executable.
    pub load_bias: u64,
    /// From the start of the lowest to the end of the highest executable segment.
    pub code: Range<u64>,
    /// What kind of module it is.
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
