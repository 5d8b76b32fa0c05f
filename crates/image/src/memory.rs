//! An address space: what lies where, and how it is read.

use std::{
    io,
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use rtops_types::Access;

use crate::{FileOffset, ImageModule, Thread};

/// The most bytes that [`Image::for_each_chunk`] shows at a time.
pub const MAX_CHUNK: usize = 1 << 20;

/// The memory, modules and threads of a process at one instant. Reads may come from many threads at
/// once.
pub trait Image: Sync {
    /// What is mapped: sorted by address, without overlaps. A mapping of the process may be several
    /// regions, where a part of it is unknown or comes from elsewhere.
    fn regions(&self) -> &[Region];

    /// The executable and the libraries, sorted by address.
    fn modules(&self) -> &[ImageModule];

    /// The threads; the one that was hit by the signal comes first.
    fn threads(&self) -> &[Thread];

    /// Fills all of `into` with the bytes from `address` on. May block on the disk.
    ///
    /// # Errors
    ///
    /// If a byte of it is unknown; `into` is then partly filled.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable>;

    /// The region that holds an address.
    fn region_of(&self, address: u64) -> Option<&Region> {
        find(self.regions(), address).and_then(|index| self.regions().get(index))
    }

    /// The module whose mappings hold an address.
    fn module_of(&self, address: u64) -> Option<&ImageModule> {
        let modules = self.modules();
        let behind = modules.partition_point(|module| module.mapped.start <= address);
        let module = modules.get(behind.checked_sub(1)?)?;
        module.mapped.contains(&address).then_some(module)
    }

    /// Reads four bytes as a number.
    ///
    /// # Errors
    ///
    /// If a byte of it is unknown.
    fn read_u32(&self, address: u64) -> Result<u32, Unreadable> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads eight bytes as a number.
    ///
    /// # Errors
    ///
    /// If a byte of it is unknown.
    fn read_u64(&self, address: u64) -> Result<u64, Unreadable> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a string that ends with a zero byte, without that byte. At most `most` bytes are read:
    /// a longer string is cut.
    ///
    /// # Errors
    ///
    /// If a byte of it is unknown.
    fn read_c_string(&self, address: u64, most: usize) -> Result<Vec<u8>, Unreadable> {
        // What follows the string may be unknown, so no read crosses the end of a page.
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

    /// Shows the memory that the process itself may have written: all regions that are writable,
    /// private and known, in pieces of at most [`MAX_CHUNK`] bytes, in order of their addresses, until
    /// `look` has seen enough. Pieces begin at a multiple of 4096 bytes from the start of their region.
    /// Long runs of zeros, and what the process never wrote, may be left out.
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

/// The index of the region that holds an address.
pub(crate) fn find(regions: &[Region], address: u64) -> Option<usize> {
    let behind = regions.partition_point(|region| region.range.start <= address);
    let index = behind.checked_sub(1)?;
    let region = regions.get(index)?;
    region.range.contains(&address).then_some(index)
}

/// A range of addresses of which the same can be said.
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
    /// Whether it is writable, private and known.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.access.write && self.sharing == Sharing::Private && self.contents == Contents::Present
    }
}

/// Where the bytes of a region came from when it was mapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backing {
    /// No file: heap, stacks, and what the kernel maps.
    Anonymous,
    /// A file, or memory with the name of one, as `/memfd:…`.
    File {
        /// The name as the kernel gave it, with ` (deleted)` behind it where the file was gone.
        path: Arc<Path>,
        /// Where in the file the region begins.
        offset: FileOffset,
    },
}

/// Whether other processes may see writes to a region. A core file does not say: there, a mapping of
/// what is no ELF file counts as shared. A live process does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// Writes are this process's own.
    Private,
    /// Writes go to a file or to memory that others map, too.
    Shared,
}

/// Whether the bytes of a region are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// They can be read.
    Present,
    /// They can't, and why.
    Absent(Absence),
}

/// Why the bytes of a region are not known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Absence {
    /// Whoever wrote the core left it out: `coredump_filter`, or `MADV_DONTDUMP`.
    #[error("it was left out of the core")]
    LeftOut,
    /// It is in an executable or a library that was not found, or is another build.
    #[error("the file that it was mapped from is not at hand")]
    NoFile,
    /// It is in a file that is no ELF file, which may have changed since.
    #[error("it was mapped from a file that may have changed since")]
    Data,
    /// It lies behind the end of the file that it was mapped from.
    #[error("it lies behind the end of its file")]
    BehindEnd,
    /// The core file was cut before it.
    #[error("the core file ends before it")]
    Truncated,
    /// What is said of it can't be.
    #[error("the image contradicts itself")]
    Contradiction,
    /// The process itself may neither read, write nor run it.
    #[error("the process itself may not use it")]
    NoAccess,
    /// The kernel's own, as `[vvar]`: only the process itself can read it.
    #[error("it belongs to the kernel")]
    Kernel,
    /// It belongs to a device, or to an object of the kernel such as a ring of requests: to read it may have
    /// an effect.
    #[error("it belongs to a device, where reading may have an effect")]
    Device,
    /// It is in a file of a file system that another process serves, or that is not known: a reader may wait
    /// for ever.
    #[error("the file system of the file that it was mapped from may keep a reader waiting")]
    FileSystem,
    /// It was not read while the process stood still.
    #[error("it was not read while the process stood still")]
    NotKept,
    /// More than what is kept.
    #[error("there is too much of it")]
    TooMuch,
}

/// Why memory can't be read. All addresses are those of the first byte that is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing is mapped there.
    #[error("nothing is mapped at {0:#x}")]
    NotMapped(u64),
    /// Something was mapped there, but its bytes are not known.
    #[error("the memory at {0:#x} is unknown: {1}")]
    Absent(u64, Absence),
    /// The file with the bytes can't be read.
    #[error("the memory at {0:#x} can't be read: {1}")]
    Io(u64, io::ErrorKind),
}
