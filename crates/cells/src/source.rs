//! The memory of an image as the interpreter reads it.

use rtops_emulate::{Absent, Access, Page, Source};
use rtops_image::{Contents, Image};

/// The pages of an image. Where wakers of tokio's are stored, their vtable is another one with the same
/// functions: a leaf that finds another waker than it has stored clones the new one, and shows itself.
pub(crate) struct Pages<'a> {
    pub(crate) image: &'a dyn Image,
    /// The vtables of tokio's wakers, and what stands in their place.
    pub(crate) doubles: Vec<(u64, u64)>,
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
            for word in into.as_chunks_mut().0 {
                let value = u64::from_le_bytes(*word);
                let place = self.doubles.binary_search_by_key(&value, |(of, _)| *of);
                if let Some((_, double)) = place.ok().and_then(|place| self.doubles.get(place)) {
                    *word = double.to_le_bytes();
                }
            }
        }
        Ok(Access {
            read: region.access.read,
            write: region.access.write,
            execute: region.access.execute,
        })
    }
}
