//! Single words of an image: what is near each other is read once.

use rtops_image::Image;

const PAGE: usize = 4096;
/// How many pages are read at once: each read is several system calls.
const AT_ONCE: usize = 4;
const BLOCK: usize = PAGE * AT_ONCE;
/// A power of two.
const BLOCKS: usize = 64;

/// Reads words, and keeps the pages that they are in.
#[derive(Debug)]
pub(crate) struct Words<'a, I> {
    image: &'a I,
    blocks: Vec<Block>,
}

/// Some pages.
#[derive(Debug)]
struct Block {
    /// The address of the first one; none of a block that was not read yet.
    address: Option<u64>,
    bytes: Box<[u8]>,
    /// Those that are known as a whole.
    is_known: [bool; AT_ONCE],
}

impl<'a, I: Image> Words<'a, I> {
    pub(crate) fn of(image: &'a I) -> Self {
        let none = || Block {
            address: None,
            bytes: Box::default(),
            is_known: [false; AT_ONCE],
        };
        let blocks = std::iter::repeat_with(none).take(BLOCKS).collect();
        Self { image, blocks }
    }

    /// The word at a multiple of 8; `None` where it is not known, and everywhere else.
    pub(crate) fn at(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        let number = address / BLOCK as u64;
        let start = number * BLOCK as u64;
        let block = self.blocks.get_mut(number as usize % BLOCKS)?;
        if block.address != Some(start) {
            block.read(self.image, start);
        }
        let place = usize::try_from(address - start).ok()?;
        let word = block.bytes.get(place..)?.first_chunk()?;
        let is_known = *block.is_known.get(place / PAGE)?;
        is_known.then(|| u64::from_le_bytes(*word))
    }
}

impl Block {
    fn read(&mut self, image: &impl Image, address: u64) {
        self.address = Some(address);
        if self.bytes.is_empty() {
            self.bytes = vec![0; BLOCK].into();
        }
        self.is_known = [image.read(address, &mut self.bytes).is_ok(); AT_ONCE];
        if self.is_known == [true; AT_ONCE] {
            return;
        }
        // Not all of them is mapped.
        let pages = self.bytes.chunks_exact_mut(PAGE).zip(&mut self.is_known);
        for ((page, is_known), address) in pages.zip((address..).step_by(PAGE)) {
            *is_known = image.read(address, page).is_ok();
        }
    }
}

/// The byte at an address of the word that it is in.
pub(crate) fn byte(word: u64, address: u64) -> Option<u8> {
    let index = usize::try_from(address % 8).ok()?;
    word.to_le_bytes().get(index).copied()
}
