//! The GNU build-id, out of the notes of a file.

/// The number of the note with the build-id.
const NT_GNU_BUILD_ID: u32 = 3;
/// SHA-1 has 20 bytes, and `--build-id=0x…` may be longer.
const MAX_BUILD_ID: usize = 64;

/// The build-id among the notes of a section or segment, which are aligned to 4 or 8 bytes.
pub(crate) fn find_build_id(mut notes: &[u8], align: u64) -> Option<&[u8]> {
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
    Some((u32::from_le_bytes(*word), rest))
}
