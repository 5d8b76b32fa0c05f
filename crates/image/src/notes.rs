//! Notes: records of an ELF file that consist of a name, a number, and some bytes.

use std::{
    io,
    ops::{ControlFlow, Range},
};

use rtops_elf::ReadAt;

use crate::FileOffset;

/// A note whose bytes are not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) kind: u32,
    /// The size of its bytes, as far as the file contains them.
    pub(crate) size: u64,
    name: [u8; 8],
    at: FileOffset,
}

/// How a walk over notes ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Whole,
    /// The caller stopped it.
    Left,
    /// A note is longer than its container.
    Cut,
}

impl Note {
    /// Returns whether it has this name.
    pub(crate) fn is_of(&self, name: &[u8]) -> bool {
        let end = self.name.iter().position(|byte| *byte == 0);
        self.name.get(..end.unwrap_or(self.name.len())) == Some(name)
    }

    /// Reads its first `most` bytes, or fewer if the file is cut.
    pub(crate) fn read(&self, read: &ReadAt<'_>, most: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size.min(most)).unwrap_or(0);
        let mut bytes = vec![0; size];
        let have = read(self.at, &mut bytes)?;
        bytes.truncate(have);
        Ok(bytes)
    }
}

/// Passes the notes in a part of a file to `look`, until that breaks.
/// Each step advances by at least 12 bytes.
pub(crate) fn walk(
    read: &ReadAt<'_>,
    range: Range<FileOffset>,
    align: u64,
    look: &mut dyn FnMut(&Note) -> ControlFlow<()>,
) -> io::Result<End> {
    const HEADER: u64 = 12;
    let align = if align == 8 { 8 } else { 4 };
    let mut at = range.start;
    while at.plus(HEADER) <= range.end {
        let mut bytes = [0; 20];
        let have = read(at, &mut bytes)?;
        if have < 12 {
            return Ok(End::Cut);
        }
        let word = |place: usize| u32_at(&bytes, place);
        let name_size = u64::from(word(0));
        let size = u64::from(word(4));
        let data = at.plus((HEADER + name_size).next_multiple_of(align));
        let mut name = [0; 8];
        for (to, from) in name.iter_mut().zip(bytes.get(12..have).unwrap_or_default()) {
            *to = *from;
        }
        for byte in name
            .iter_mut()
            .skip(usize::try_from(name_size).unwrap_or(8))
        {
            *byte = 0;
        }
        let kind = word(8);
        // This is padding. A sparse file can contain any amount of it.
        if (name_size, size, kind) == (0, 0, 0) {
            break;
        }
        let is_cut = data.plus(size) > range.end;
        let note = Note {
            kind,
            size: size.min(range.end.0.saturating_sub(data.0)),
            name,
            at: data,
        };
        if look(&note).is_break() {
            return Ok(End::Left);
        }
        if is_cut {
            return Ok(End::Cut);
        }
        at = data.plus(size.next_multiple_of(align));
    }
    Ok(End::Whole)
}

/// Reads four bytes as a number; 0 if they are missing.
pub(crate) fn u32_at(bytes: &[u8], place: usize) -> u32 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u32::from_le_bytes(*found))
}

/// Reads two bytes as a number; 0 if they are missing.
pub(crate) fn u16_at(bytes: &[u8], place: usize) -> u16 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u16::from_le_bytes(*found))
}

/// Reads eight bytes as a number; 0 if they are missing.
pub(crate) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u64::from_le_bytes(*found))
}
