//! Arranges the memory that a core file states: its `PT_LOAD` segments,
//! sorted and without contradictions.

use object::elf::PT_LOAD;

use rtops_elf::ProgramHeader;

use crate::{Absence, Gap, gap::Gaps, parts::Part};

/// Sorts the segments. If two overlap, the one that begins lower provides the bytes.
pub(super) fn arrange(segments: &[ProgramHeader], file_size: u64, gaps: &mut Gaps) -> Vec<Part> {
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
    // In a genuine core, no two segments share bytes of the file: otherwise a
    // small file could claim any amount of memory.
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

fn dumped(segment: &ProgramHeader, file_size: u64) -> Option<Part> {
    let end = segment.address.checked_add(segment.in_memory)?;
    segment.offset.0.checked_add(segment.in_file)?;
    if segment.in_file > segment.in_memory {
        return None;
    }
    Some(Part {
        range: segment.address..end,
        access: segment.access,
        sharing: None,
        offset: segment.offset,
        stated: segment.in_file,
        present: segment
            .in_file
            .min(file_size.saturating_sub(segment.offset.0)),
        lost: Absence::Truncated,
    })
}

/// Reports how much of the file is missing.
pub(super) fn missing(segments: &[ProgramHeader], file_size: u64, gaps: &mut Gaps) {
    let ends = segments
        .iter()
        .map(|segment| segment.offset.0.checked_add(segment.in_file));
    let end = ends.flatten().max().unwrap_or(0);
    if end > file_size {
        gaps.add(Gap::Truncated(end - file_size));
    }
}
