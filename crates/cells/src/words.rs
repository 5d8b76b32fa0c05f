//! Single words of an image: what is near each other is read once.

use rtops_image::Image;

const PAGE: u64 = 4096;
const WORDS: usize = 512;
/// A power of two.
const PAGES: usize = 256;

/// Reads words, and keeps the pages that they are in.
#[derive(Debug)]
pub(crate) struct Words<'a, I> {
    image: &'a I,
    pages: Vec<Option<Box<Page>>>,
}

#[derive(Debug)]
struct Page {
    address: u64,
    /// `None` where the page is not known as a whole.
    words: Option<[u64; WORDS]>,
}

impl<'a, I: Image> Words<'a, I> {
    pub(crate) fn of(image: &'a I) -> Self {
        let pages = std::iter::repeat_with(|| None).take(PAGES).collect();
        Self { image, pages }
    }

    /// The word at a multiple of 8; `None` where it is not known, and everywhere else.
    pub(crate) fn at(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        let page = address / PAGE * PAGE;
        let place = usize::try_from(page / PAGE).ok()? % PAGES;
        let place = self.pages.get_mut(place)?;
        let kept = match place {
            Some(kept) if kept.address == page => kept,
            _ => place.insert(Box::new(Page {
                address: page,
                words: read(self.image, page),
            })),
        };
        let index = usize::try_from((address - page) / 8).ok()?;
        kept.words.as_ref()?.get(index).copied()
    }
}

/// The byte at an address of the word that it is in.
pub(crate) fn byte(word: u64, address: u64) -> Option<u8> {
    let index = usize::try_from(address % 8).ok()?;
    word.to_le_bytes().get(index).copied()
}

fn read(image: &impl Image, page: u64) -> Option<[u64; WORDS]> {
    let mut bytes = [0; WORDS * 8];
    image.read(page, &mut bytes).ok()?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}
