//! The memory that a core file states: its `PT_LOAD` segments, sorted and freed of contradictions.

use std::ops::Range;

use object::elf::PT_LOAD;

use super::{Gap, elf::Segment, gap::Gaps};
use crate::{Absence, Access, FileOffset};

/// A mapping of the process, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Dumped {
    pub(super) range: Range<u64>,
    pub(super) access: Access,
    /// Where its first byte lies in the core.
    pub(super) offset: FileOffset,
    /// How many bytes, from its start, the core says it has.
    pub(super) stated: u64,
    /// How many of them there are.
    pub(super) present: u64,
    /// Why there are not all.
    pub(super) lost: Absence,
}

/// Sorts the segments. Where two overlap, the one that begins lower has the bytes.
pub(super) fn arrange(segments: &[Segment], file_size: u64, gaps: &mut Gaps) -> Vec<Dumped> {
    let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let mut all: Vec<_> = loaded
        .filter(|segment| segment.in_memory > 0)
        .filter_map(|segment| {
            let dumped = dumped(segment, file_size);
            if dumped.is_none() {
                gaps.contradiction();
            }
            dumped
        })
        .collect();
    all.sort_by_key(|dumped| dumped.range.start);
    let mut end = 0;
    // No two segments of a true core share bytes of the file: more bytes than it has would make a
    // small file as large as one likes.
    let mut left = file_size;
    all.retain_mut(|dumped| {
        if dumped.range.start < end {
            gaps.contradiction();
            dumped.skip(end - dumped.range.start);
        }
        if dumped.range.is_empty() {
            return false;
        }
        end = dumped.range.end;
        if dumped.present > left {
            gaps.contradiction();
            dumped.present = 0;
            dumped.lost = Absence::Contradiction;
        }
        left -= dumped.present;
        true
    });
    all
}

fn dumped(segment: &Segment, file_size: u64) -> Option<Dumped> {
    let end = segment.address.checked_add(segment.in_memory)?;
    segment.offset.0.checked_add(segment.in_file)?;
    if segment.in_file > segment.in_memory {
        return None;
    }
    Some(Dumped {
        range: segment.address..end,
        access: segment.access,
        offset: segment.offset,
        stated: segment.in_file,
        present: segment
            .in_file
            .min(file_size.saturating_sub(segment.offset.0)),
        lost: Absence::Truncated,
    })
}

impl Dumped {
    /// Cuts off its first bytes.
    fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.range.end - self.range.start);
        self.range.start += bytes;
        self.offset = self.offset.plus(bytes);
        self.stated = self.stated.saturating_sub(bytes);
        self.present = self.present.saturating_sub(bytes);
    }

    /// The addresses whose bytes are in the core.
    pub(super) const fn known(&self) -> Range<u64> {
        self.range.start..self.range.start + self.present
    }
}

/// Says how much of the file is missing.
pub(super) fn missing(segments: &[Segment], file_size: u64, gaps: &mut Gaps) {
    let ends = segments
        .iter()
        .map(|segment| segment.offset.0.checked_add(segment.in_file));
    let end = ends.flatten().max().unwrap_or(0);
    if end > file_size {
        gaps.add(Gap::Truncated(end - file_size));
    }
}

/// The segment that holds an address.
pub(super) fn find(all: &[Dumped], address: u64) -> Option<&Dumped> {
    let behind = all.partition_point(|dumped| dumped.range.start <= address);
    let dumped = all.get(behind.checked_sub(1)?)?;
    dumped.range.contains(&address).then_some(dumped)
}

/// Where in the core the byte at an address lies, and how many follow it.
pub(super) fn locate(all: &[Dumped], address: u64) -> Option<(FileOffset, u64)> {
    let dumped = find(all, address)?;
    let known = dumped.known();
    let offset = dumped.offset.plus(address - dumped.range.start);
    known
        .contains(&address)
        .then(|| (offset, known.end - address))
}
