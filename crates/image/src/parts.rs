//! The address space as whoever wrote an image down states it: which addresses there are, and where in the
//! image's file their bytes are.

use std::ops::Range;

use crate::{Absence, Access, FileOffset, Sharing};

/// A mapping of the process, or a part of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Part {
    pub(crate) range: Range<u64>,
    pub(crate) access: Access,
    /// Whether others see writes, where that is known.
    pub(crate) sharing: Option<Sharing>,
    /// Where its first byte lies in the image's file.
    pub(crate) offset: FileOffset,
    /// How many bytes, from its start, are said to be there.
    pub(crate) stated: u64,
    /// How many of them there are.
    pub(crate) present: u64,
    /// Why there are not all.
    pub(crate) lost: Absence,
}

impl Part {
    /// The addresses whose bytes are in the image's file.
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

/// The part that holds an address.
pub(crate) fn find(all: &[Part], address: u64) -> Option<&Part> {
    let behind = all.partition_point(|part| part.range.start <= address);
    let part = all.get(behind.checked_sub(1)?)?;
    part.range.contains(&address).then_some(part)
}

/// Where in the image's file the byte at an address lies, and how many follow it.
pub(crate) fn locate(all: &[Part], address: u64) -> Option<(FileOffset, u64)> {
    let part = find(all, address)?;
    let known = part.known();
    let offset = part.offset.plus(address - part.range.start);
    known
        .contains(&address)
        .then(|| (offset, known.end - address))
}
