//! Finds the word in memory that marks whose memory it is.

use std::{collections::HashSet, ops::Range};

use rtops_image::Image;

/// How much is read at a time, and how much is searched in all.
const CHUNK: u64 = 4 << 10;
const MOST: u64 = 1 << 20;

/// Returns the first of these words in a part of memory. The search ends where memory can't
/// be read, and after a megabyte.
#[must_use]
pub fn first_word(image: &impl Image, part: Range<u64>, words: &HashSet<u64>) -> Option<u64> {
    let end = part.end.min(part.start.saturating_add(MOST));
    let mut at = part.start.checked_next_multiple_of(8)?;
    let mut chunk = [0; CHUNK as usize];
    while at < end {
        let next = end.min((at / CHUNK + 1) * CHUNK);
        let chunk = chunk.get_mut(..usize::try_from(next - at).ok()?)?;
        image.read(at, chunk).ok()?;
        let mut found = chunk
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        if let Some(word) = found.find(|word| words.contains(word)) {
            return Some(word);
        }
        at = next;
    }
    None
}
