//! Notes: the records of an ELF file with a name, a number and some bytes.

use std::{
    io,
    ops::{ControlFlow, Range},
};

use rtops_elf::ReadAt;

use crate::FileOffset;

/// A note. Its bytes are not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) kind: u32,
    /// How many bytes it has, as far as the file goes.
    pub(crate) size: u64,
    name: [u8; 8],
    at: FileOffset,
}

/// How a walk over notes ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Whole,
    /// The caller had enough.
    Left,
    /// A note is longer than what holds it.
    Cut,
}

impl Note {
    /// Whether it has this name.
    pub(crate) fn is_of(&self, name: &[u8]) -> bool {
        let end = self.name.iter().position(|byte| *byte == 0);
        self.name.get(..end.unwrap_or(self.name.len())) == Some(name)
    }

    /// Its first `most` bytes, or fewer where the file is cut.
    pub(crate) fn read(&self, read: &ReadAt<'_>, most: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size.min(most)).unwrap_or(0);
        let mut bytes = vec![0; size];
        let have = read(self.at, &mut bytes)?;
        bytes.truncate(have);
        Ok(bytes)
    }
}

/// Shows the notes in a part of a file to `look`, until it has seen enough. Each step goes forward by
/// 12 bytes at least.
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
        // Padding. A sparse file can have any amount of it.
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

/// Four bytes as a number; zero where there are none.
pub(crate) fn u32_at(bytes: &[u8], place: usize) -> u32 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u32::from_le_bytes(*found))
}

/// Two bytes as a number; zero where there are none.
pub(crate) fn u16_at(bytes: &[u8], place: usize) -> u16 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u16::from_le_bytes(*found))
}

/// Eight bytes as a number; zero where there are none.
pub(crate) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |found| u64::from_le_bytes(*found))
}
