//! Finds the GNU build-id in the notes of an ELF file.

/// The type of the note with the build-id.
const NT_GNU_BUILD_ID: u32 = 3;
/// The longest build-id: SHA-1 has 20 bytes, and `--build-id=0x…` may be longer.
const MAX_BUILD_ID: usize = 64;

/// Finds the build-id among the notes of a section or segment, which are
/// aligned to 4 or 8 bytes. Lengths are not trusted.
#[must_use]
pub fn build_id(mut notes: &[u8], align: u64) -> Option<&[u8]> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len() as u32, desc.len() as u32, kind] {
            note.extend(word.to_le_bytes());
        }
        for part in [name, desc] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let id = [7_u8; 20];
        let notes = [
            note(b"abc\0", 3, b"no"),
            note(b"GNU\0", 5, b"x"),
            note(b"GNU\0", 3, &id),
        ];
        assert_eq!(build_id(&notes.concat(), 4), Some(&id[..]));
    }

    #[test]
    fn broken_notes_have_no_build_id() {
        let whole = note(b"GNU\0", 3, &[7; 20]);
        for end in 0..whole.len() {
            assert_eq!(build_id(&whole[..end], 4), None);
        }
        assert_eq!(build_id(&[0xff; 64], 4), None);
        assert_eq!(build_id(&[0xff; 64], 8), None);
        assert_eq!(build_id(&note(b"GNU\0", 3, &[7; 65]), 4), None);
    }
}
