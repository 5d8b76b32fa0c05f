//! The address space as the writer of an image states it: which addresses exist, and where in the
//! image's file their bytes are.

use std::ops::Range;

use crate::{Absence, Access, FileOffset, Sharing};

/// A mapping of the process, or a part of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Part {
    pub(crate) range: Range<u64>,
    pub(crate) access: Access,
    /// Whether others see writes, if known.
    pub(crate) sharing: Option<Sharing>,
    /// The offset of its first byte in the image's file.
    pub(crate) offset: FileOffset,
    /// The number of bytes, from its start, that the image claims to have.
    pub(crate) stated: u64,
    /// The number of those bytes that it really has.
    pub(crate) present: u64,
    /// Why the others are missing.
    pub(crate) lost: Absence,
}

impl Part {
    /// Returns the addresses whose bytes are in the image's file.
    pub(crate) const fn known(&self) -> Range<u64> {
        self.range.start..self.range.start + self.present
    }

    /// Cuts off its first bytes.
    pub(crate) fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.range.end - self.range.start);
        self.range.start += bytes;
        self.offset = self.offset.plus(bytes);
        self.stated = self.stated.saturating_sub(bytes);
        self.present = self.present.saturating_sub(bytes);
    }
}

/// Finds the part that contains an address.
pub(crate) fn find(all: &[Part], address: u64) -> Option<&Part> {
    let behind = all.partition_point(|part| part.range.start <= address);
    let part = all.get(behind.checked_sub(1)?)?;
    part.range.contains(&address).then_some(part)
}

/// Returns where in the image's file the byte at an address is, and how
/// many bytes are left from there.
pub(crate) fn locate(all: &[Part], address: u64) -> Option<(FileOffset, u64)> {
    let part = find(all, address)?;
    let known = part.known();
    let offset = part.offset.plus(address - part.range.start);
    known
        .contains(&address)
        .then(|| (offset, known.end - address))
}
