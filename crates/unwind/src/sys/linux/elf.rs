//! Reading program headers and notes of a loaded object. Nothing in them is believed unchecked.

use std::ops::Range;

use libc::{Elf64_Phdr, PF_R, PF_X, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE};

use super::objects::Object;

/// `pcrel | sdata4`, the only encoding of the pointer to `.eh_frame` that linkers produce.
const PC_RELATIVE_I32: u8 = 0x1b;
const NT_GNU_BUILD_ID: u32 = 3;
/// SHA-1 has 20 bytes, and `--build-id=0x…` may be longer.
const MAX_BUILD_ID: usize = 64;

/// The addresses of the readable segment that holds `svma`: its part that comes from the file.
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

/// From the start of the lowest to the end of the highest executable segment.
pub(super) fn code(headers: &[Elf64_Phdr]) -> Option<Range<u64>> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0)
        .filter_map(|header| Some(header.p_vaddr..header.p_vaddr.checked_add(header.p_memsz)?))
        .filter(|segment| !segment.is_empty())
        .reduce(|all, segment| all.start.min(segment.start)..all.end.max(segment.end))
}

/// The lowest address of a segment.
pub(super) fn base(headers: &[Elf64_Phdr]) -> Option<u64> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD)
        .map(|header| header.p_vaddr)
        .min()
}

/// Where `.eh_frame_hdr` and `.eh_frame` are.
///
/// No program header gives the size of `.eh_frame`: its end is taken to be that of its segment, and
/// the terminating entry ends it before that.
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

/// The GNU build-id; empty if there is none.
pub(super) fn build_id<'a>(object: &Object<'a>) -> &'a [u8] {
    object
        .headers
        .iter()
        .filter(|header| header.p_type == PT_NOTE)
        .find_map(|header| {
            let end = header.p_vaddr.checked_add(header.p_filesz)?;
            find_build_id(object.bytes(header.p_vaddr..end)?, header.p_align)
        })
        .unwrap_or_default()
}

fn find_build_id(mut notes: &[u8], align: u64) -> Option<&[u8]> {
    let align = if align == 8 { 8 } else { 4 };
    loop {
        let (name_len, rest) = split_u32(notes)?;
        let (desc_len, rest) = split_u32(rest)?;
        let (kind, rest) = split_u32(rest)?;
        let name_len = usize::try_from(name_len).ok()?;
        let desc_len = usize::try_from(desc_len).ok()?;
        // The three words before the name count for the alignment of what follows it.
        let desc_at = (12_usize.checked_add(name_len)?).checked_next_multiple_of(align)? - 12;
        let name = rest.get(..name_len)?;
        let desc = rest.get(desc_at..desc_at.checked_add(desc_len)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && desc_len <= MAX_BUILD_ID {
            return Some(desc);
        }
        let next = desc_at
            .checked_add(desc_len)?
            .checked_next_multiple_of(align)?;
        notes = rest.get(next..)?;
    }
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_ne_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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

    fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len() as u32, desc.len() as u32, kind] {
            note.extend(word.to_ne_bytes());
        }
        for part in [name, desc] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
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

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let id = [7_u8; 20];
        let notes = [
            note(b"abc\0", 3, b"no"),
            note(b"GNU\0", 5, b"x"),
            note(b"GNU\0", 3, &id),
        ];
        assert_eq!(find_build_id(&notes.concat(), 4), Some(&id[..]));
    }

    #[test]
    fn broken_notes_have_no_build_id() {
        let whole = note(b"GNU\0", 3, &[7; 20]);
        for end in 0..whole.len() {
            assert_eq!(find_build_id(&whole[..end], 4), None);
        }
        assert_eq!(find_build_id(&[0xff; 64], 4), None);
        assert_eq!(find_build_id(&[0xff; 64], 8), None);
        assert_eq!(find_build_id(&note(b"GNU\0", 3, &[7; 65]), 4), None);
    }
}
