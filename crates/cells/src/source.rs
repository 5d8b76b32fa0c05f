//! The memory of an image as the interpreter reads it.

use rtops_emulate::{Absent, Access, Page, Source};
use rtops_image::{Contents, Image};

use crate::{layout::WAKER_WORDS, places::Ranges};

/// The number of doubles of each vtable: one for wakers in the
/// heap, the others for wakers on stacks.
pub(crate) const DOUBLES_EACH: u64 = 64;
/// The size of a waker's vtable, in bytes.
pub(crate) const VTABLE_BYTES: u64 = 8 * WAKER_WORDS;

/// The pages of an image, in which the vtable of each stored waker is replaced with a
/// double that has the same functions. A leaf that is polled with another waker than it has
/// stored clones the new one, and thus shows itself.
///
/// A thread inside `block_on` keeps the waker that it polls with on its stack, where its future
/// may have stored wakers, too. There, the double depends on the place, so that they differ.
pub(crate) struct Pages<'a> {
    pub(crate) image: &'a dyn Image,
    /// The addresses of the vtables of wakers, and of the first double of each.
    pub(crate) doubles: Vec<(u64, u64)>,
    pub(crate) stacks: Ranges,
}

impl Pages<'_> {
    /// Returns what replaces, at this address, the vtable whose doubles begin at `first`.
    fn double(&self, first: u64, at: u64) -> u64 {
        let number = match self.stacks.contains(at) {
            true => 1 + at / 8 % (DOUBLES_EACH - 1),
            false => 0,
        };
        first + number * VTABLE_BYTES
    }
}

impl Source for Pages<'_> {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        let region = self.image.region_of(address).ok_or(Absent::NotMapped)?;
        if region.contents != Contents::Present {
            return Err(Absent::NotPresent);
        }
        self.image
            .read(address, into)
            .map_err(|_| Absent::NotPresent)?;
        if region.is_own() {
            for (word, at) in into
                .as_chunks_mut()
                .0
                .iter_mut()
                .zip((address..).step_by(8))
            {
                let value = u64::from_le_bytes(*word);
                let place = self.doubles.binary_search_by_key(&value, |(of, _)| *of);
                if let Some((_, first)) = place.ok().and_then(|place| self.doubles.get(place)) {
                    *word = self.double(*first, at).to_le_bytes();
                }
            }
        }
        Ok(region.access)
    }
}
