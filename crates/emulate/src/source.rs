//! The source of memory: what the caller provides, and how an access can fail.

use std::{fmt, sync::Arc};

use rtops_types::Access;
use thiserror::Error;

/// The size of a page, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// The bytes of one page.
pub type Page = [u8; PAGE_SIZE];

/// Memory that does not change while it is being read.
///
/// One source may serve many emulators on many threads at once.
pub trait Source: Send + Sync {
    /// Fills `into` with the page that begins at `address`, a multiple of [`PAGE_SIZE`], and
    /// returns the accesses that the page allows.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no such page, or its bytes are not known.
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent>;
}

impl<T: Source + ?Sized> Source for &T {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        (**self).page(address, into)
    }
}

impl<T: Source + ?Sized> Source for Arc<T> {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        (**self).page(address, into)
    }
}

/// Why a [`Source`] does not have a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Absent {
    /// There was no memory at this address.
    #[error("not mapped")]
    NotMapped,
    /// There was memory, but its bytes are not known: a core file may leave them out.
    #[error("not present")]
    NotPresent,
}

/// What an instruction, or a caller of [`Memory`](crate::Memory), wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Execute,
}

impl Wanted {
    pub(crate) const fn is_allowed(self, access: Access) -> bool {
        match self {
            Self::Read => access.read,
            Self::Write => access.write,
            Self::Execute => access.execute,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        })
    }
}

/// A memory access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot {wanted} {address:#x}: {why}")]
pub struct Fault {
    /// The first byte that could not be accessed.
    pub address: u64,
    /// The access that was attempted.
    pub wanted: Wanted,
    /// Why it failed.
    pub why: Why,
}

/// Why memory could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Why {
    /// There is no memory at this address.
    #[error("it is not mapped")]
    NotMapped,
    /// There was memory, but the source does not know its bytes.
    #[error("its bytes are not known")]
    NotPresent,
    /// The page does not allow this access.
    #[error("the page does not allow it")]
    NotAllowed,
    /// The upper 17 bits of the address are not all equal.
    #[error("the address is not canonical")]
    NonCanonical,
    /// The instruction requires an aligned operand.
    #[error("the address is not aligned")]
    Misaligned,
    /// More pages would be written than [`Limits::written_pages`](crate::Limits) allows.
    #[error("too many pages were written")]
    TooManyWritten,
}

impl From<Absent> for Why {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::NotMapped => Self::NotMapped,
            Absent::NotPresent => Self::NotPresent,
        }
    }
}
