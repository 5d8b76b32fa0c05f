//! The memory of an image as the interpreter reads it.

use rtops_emulate::{Absent, Access, Page, Source};
use rtops_image::{Contents, Image};

/// The pages of an image. Where wakers of tokio's are stored, their vtable is another one with the same
/// functions: a leaf that finds another waker than it has stored clones the new one, and shows itself.
#[derive(Debug)]
pub(crate) struct Pages<'a, I> {
    pub(crate) image: &'a I,
    /// The vtables of tokio's wakers, and what stands in their place.
    pub(crate) doubles: Vec<(u64, u64)>,
}

impl<I: Image + Send> Source for Pages<'_, I> {
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
                if let Some((_, double)) = self.doubles.iter().find(|(of, _)| *of == value) {
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
