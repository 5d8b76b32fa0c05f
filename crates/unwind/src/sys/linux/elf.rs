//! Reads program headers and notes of a loaded object. Nothing in them is trusted unchecked.

use std::ops::Range;

use libc::{Elf64_Phdr, PF_R, PF_X, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE};

use super::objects::Object;

/// `pcrel | sdata4`, the only encoding of the pointer to `.eh_frame` that linkers produce.
const PC_RELATIVE_I32: u8 = 0x1b;

/// Returns the addresses of the readable segment that contains `svma`,
/// as far as they come from the file.
pub(super) fn segment_of(headers: &[Elf64_Phdr], svma: u64) -> Option<Range<u64>> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_R != 0)
        .filter_map(|header| {
            let size = header.p_filesz.min(header.p_memsz);
            Some(header.p_vaddr..header.p_vaddr.checked_add(size)?)
        })
        .find(|segment| segment.contains(&svma))
}

/// Returns the range from the start of the lowest to the end of the highest executable segment.
pub(super) fn code(headers: &[Elf64_Phdr]) -> Option<Range<u64>> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0)
        .filter_map(|header| Some(header.p_vaddr..header.p_vaddr.checked_add(header.p_memsz)?))
        .filter(|segment| !segment.is_empty())
        .reduce(|all, segment| all.start.min(segment.start)..all.end.max(segment.end))
}

/// Returns the lowest address of a segment.
pub(super) fn base(headers: &[Elf64_Phdr]) -> Option<u64> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD)
        .map(|header| header.p_vaddr)
        .min()
}

/// Returns the addresses of `.eh_frame_hdr` and `.eh_frame`.
///
/// No program header has the size of `.eh_frame`, so it is taken to extend to the end of its
/// segment; its terminating entry ends it before that.
pub(super) fn unwind_sections(object: &Object<'_>) -> Option<(Range<u64>, Range<u64>)> {
    let header = object
        .headers
        .iter()
        .find(|header| header.p_type == PT_GNU_EH_FRAME)?;
    let header_end = header.p_vaddr.checked_add(header.p_memsz)?;
    let pointer_at = header.p_vaddr.checked_add(4)?;
    let start = object
        .bytes(header.p_vaddr..header_end)?
        .first_chunk::<8>()?;
    let &[1, PC_RELATIVE_I32, _, _, offset @ ..] = start else {
        return None;
    };
    let frames = pointer_at.checked_add_signed(i64::from(i32::from_ne_bytes(offset)))?;
    let frames_end = segment_of(object.headers, frames)?.end;
    Some((header.p_vaddr..header_end, frames..frames_end))
}

/// Returns the GNU build-id; empty if there is none.
pub(super) fn build_id<'a>(object: &Object<'a>) -> &'a [u8] {
    object
        .headers
        .iter()
        .filter(|header| header.p_type == PT_NOTE)
        .find_map(|header| {
            let end = header.p_vaddr.checked_add(header.p_filesz)?;
            rtops_types::build_id(object.bytes(header.p_vaddr..end)?, header.p_align)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u32, flags: u32, address: u64, size: u64) -> Elf64_Phdr {
        Elf64_Phdr {
            p_type: kind,
            p_flags: flags,
            p_offset: 0,
            p_vaddr: address,
            p_paddr: 0,
            p_filesz: size,
            p_memsz: size,
            p_align: 4096,
        }
    }

    #[test]
    fn a_segment_that_wraps_around_holds_nothing() {
        let headers = [header(PT_LOAD, PF_R | PF_X, u64::MAX - 5, 10)];
        assert_eq!(segment_of(&headers, u64::MAX - 5), None);
        assert_eq!(code(&headers), None);
    }

    #[test]
    fn only_readable_segments_are_read() {
        let headers = [
            header(PT_LOAD, PF_X, 0x1000, 0x1000),
            header(PT_LOAD, PF_R, 0x2000, 0x800),
        ];
        assert_eq!(segment_of(&headers, 0x1000), None);
        assert_eq!(segment_of(&headers, 0x27ff), Some(0x2000..0x2800));
        assert_eq!(segment_of(&headers, 0x2800), None);
        assert_eq!(code(&headers), Some(0x1000..0x2000));
        assert_eq!(base(&headers), Some(0x1000));
    }
}
