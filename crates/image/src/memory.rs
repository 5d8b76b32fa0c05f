//! An address space: its regions, and how to read them.

use std::{
    io,
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use rtops_types::Access;

use crate::{FileOffset, ImageModule, Thread};

/// The most bytes that [`Image::for_each_chunk`] passes in one call.
pub const MAX_CHUNK: usize = 1 << 20;

/// The memory, modules, and threads of a process at one instant. Any
/// number of threads may read it at once.
pub trait Image: Sync {
    /// Returns the mapped regions, sorted by address and without overlaps. A mapping of the process
    /// may be several regions, if a part of it is unknown or comes from elsewhere.
    fn regions(&self) -> &[Region];

    /// Returns the executable and the libraries, sorted by address.
    fn modules(&self) -> &[ImageModule];

    /// Returns the threads; the one that was hit by the signal comes first.
    fn threads(&self) -> &[Thread];

    /// Fills all of `into` with the bytes from `address` on. May block on disk I/O.
    ///
    /// # Errors
    ///
    /// If any of the bytes is unknown; `into` is then partly filled.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable>;

    /// Returns the region that contains an address.
    fn region_of(&self, address: u64) -> Option<&Region> {
        find(self.regions(), address).and_then(|index| self.regions().get(index))
    }

    /// Returns the module whose mappings contain an address.
    fn module_of(&self, address: u64) -> Option<&ImageModule> {
        let modules = self.modules();
        let behind = modules.partition_point(|module| module.mapped.start <= address);
        let module = modules.get(behind.checked_sub(1)?)?;
        module.mapped.contains(&address).then_some(module)
    }

    /// Reads four bytes as a little-endian number.
    ///
    /// # Errors
    ///
    /// If any of the bytes is unknown.
    fn read_u32(&self, address: u64) -> Result<u32, Unreadable> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads eight bytes as a little-endian number.
    ///
    /// # Errors
    ///
    /// If any of the bytes is unknown.
    fn read_u64(&self, address: u64) -> Result<u64, Unreadable> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a string that ends with a zero byte, without that byte. At most `most`
    /// bytes are read: a longer string is cut off.
    ///
    /// # Errors
    ///
    /// If any of the bytes is unknown.
    fn read_c_string(&self, address: u64, most: usize) -> Result<Vec<u8>, Unreadable> {
        // Memory after the string may be unknown, so no read crosses a page boundary.
        const PAGE: u64 = 4096;
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < most {
            let mut piece = [0; 256];
            let in_page = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
            let length = piece.len().min(most - text.len()).min(in_page);
            let piece = piece.get_mut(..length).unwrap_or_default();
            self.read(at, piece)?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(piece.get(..end).unwrap_or_default());
                break;
            }
            text.extend_from_slice(piece);
            at = at.wrapping_add(length as u64);
        }
        Ok(text)
    }

    /// Passes the memory that the process itself may have written to `look`: all regions that are
    /// writable, private, and known, in chunks of at most [`MAX_CHUNK`] bytes, in order of address,
    /// until `look` breaks. Chunks begin at a multiple of 4096 bytes from the start of their
    /// region. Long runs of zeros, and memory that the process never wrote, may be left out.
    ///
    /// # Errors
    ///
    /// If a region can't be read although its bytes should be known.
    fn for_each_chunk(
        &self,
        look: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        let mut buffer = Vec::new();
        for region in self.regions().iter().filter(|region| region.is_own()) {
            let mut at = region.range.start;
            while at < region.range.end {
                let left = usize::try_from(region.range.end - at).unwrap_or(usize::MAX);
                buffer.resize(left.min(MAX_CHUNK), 0);
                self.read(at, &mut buffer)?;
                if look(at, &buffer).is_break() {
                    return Ok(());
                }
                at += buffer.len() as u64;
            }
        }
        Ok(())
    }
}

/// Returns the index of the region that contains an address.
pub(crate) fn find(regions: &[Region], address: u64) -> Option<usize> {
    let behind = regions.partition_point(|region| region.range.start <= address);
    let index = behind.checked_sub(1)?;
    let region = regions.get(index)?;
    region.range.contains(&address).then_some(index)
}

/// A range of addresses with the same properties.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Region {
    /// Its addresses; never empty.
    pub range: Range<u64>,
    /// What the process may do with it.
    pub access: Access,
    /// Where its bytes came from when it was mapped.
    pub backing: Backing,
    /// Whether other processes may see writes.
    pub sharing: Sharing,
    /// Whether its bytes are known.
    pub contents: Contents,
}

impl Region {
    /// Returns whether it is writable, private, and known.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.access.write && self.sharing == Sharing::Private && self.contents == Contents::Present
    }
}

/// Where the bytes of a region came from when it was mapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backing {
    /// No file: heap, stacks, and mappings of the kernel.
    Anonymous,
    /// A file, or memory with a file's name, such as `/memfd:…`.
    File {
        /// The name as the kernel reported it, followed by ` (deleted)` if the file was gone.
        path: Arc<Path>,
        /// The offset of the region's start in the file.
        offset: FileOffset,
    },
}

/// Whether other processes may see writes to a region. A live process says so; a core file does
/// not, so a mapping of a file that is not ELF counts as shared there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// Only this process sees its writes.
    Private,
    /// Writes go to a file or to memory that others map too.
    Shared,
}

/// Whether the bytes of a region are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// They can be read.
    Present,
    /// They can't be read, for this reason.
    Absent(Absence),
}

/// Why the bytes of a region are not known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Absence {
    /// The writer of the core left it out: `coredump_filter`, or `MADV_DONTDUMP`.
    #[error("it was left out of the core")]
    LeftOut,
    /// It is in an executable or a library that was not found, or whose file is another build.
    #[error("the file that it was mapped from is not at hand")]
    NoFile,
    /// It is in a file that is not ELF, which may have changed since.
    #[error("it was mapped from a file that may have changed since")]
    Data,
    /// It lies after the end of the file that it was mapped from.
    #[error("it lies behind the end of its file")]
    BehindEnd,
    /// The core file was cut before it.
    #[error("the core file ends before it")]
    Truncated,
    /// The image makes contradictory statements about it.
    #[error("the image contradicts itself")]
    Contradiction,
    /// The process itself may neither read, write, nor execute it.
    #[error("the process itself may not use it")]
    NoAccess,
    /// It is the kernel's own, such as `[vvar]`: only the process itself can read it.
    #[error("it belongs to the kernel")]
    Kernel,
    /// It belongs to a device, or to a kernel object such as a request
    /// ring: reading it may have an effect.
    #[error("it belongs to a device, where reading may have an effect")]
    Device,
    /// It is in a file on a file system that another process serves, or
    /// that is not known: a reader may wait forever.
    #[error("the file system of the file that it was mapped from may keep a reader waiting")]
    FileSystem,
    /// It was not read while the process was stopped.
    #[error("it was not read while the process stood still")]
    NotKept,
    /// It exceeds the limit of what is kept.
    #[error("there is too much of it")]
    TooMuch,
}

/// Why memory can't be read. Each address is that of the first unknown byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing is mapped there.
    #[error("nothing is mapped at {0:#x}")]
    NotMapped(u64),
    /// Something was mapped there, but its bytes are unknown.
    #[error("the memory at {0:#x} is unknown: {1}")]
    Absent(u64, Absence),
    /// The file with the bytes can't be read.
    #[error("the memory at {0:#x} can't be read: {1}")]
    Io(u64, io::ErrorKind),
}
