//! Reads single words of an image; words near each other are read at once.

use rtops_image::Image;

const PAGE: usize = 4096;
/// The number of pages read at once: each read takes several system calls.
const AT_ONCE: usize = 4;
const BLOCK: usize = PAGE * AT_ONCE;
/// The number of blocks that are kept, a power of two.
const BLOCKS: usize = 64;

/// Reads words, and keeps the pages that contain them.
#[derive(Debug)]
pub(crate) struct Words<'a, I> {
    image: &'a I,
    blocks: Vec<Block>,
}

/// Consecutive pages.
#[derive(Debug)]
struct Block {
    /// The address of the first page; `None` for a block that was not read yet.
    address: Option<u64>,
    bytes: Box<[u8]>,
    /// Which pages could be read whole.
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

    /// Returns the word at a multiple of 8; `None` if it is unknown, or at any other address.
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
        // Some of the pages are not mapped.
        let pages = self.bytes.chunks_exact_mut(PAGE).zip(&mut self.is_known);
        for ((page, is_known), address) in pages.zip((address..).step_by(PAGE)) {
            *is_known = image.read(address, page).is_ok();
        }
    }
}

/// Returns the byte at an address, out of the word that contains it.
pub(crate) fn byte(word: u64, address: u64) -> Option<u8> {
    let index = usize::try_from(address % 8).ok()?;
    word.to_le_bytes().get(index).copied()
}
