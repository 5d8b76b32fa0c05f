//! Reading the memory of the process, as it was copied.
//!
//! Nothing that is found in it is trusted: each address is looked up in the table of mappings
//! before it is read.
#![expect(
    unsafe_code,
    reason = "reads memory at addresses that were found in memory"
)]

use std::ptr;

use rtops_snapshot::{Copy, Mapping, Use};

/// The memory, by the table of mappings.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub(super) copy: &'a Copy<'a>,
}

/// Pages are looked at for being present in pieces of so many.
const PIECE: usize = 4096;
const PAGE: usize = 4096;

impl<'a> Memory<'a> {
    /// A word, if it can be read.
    pub(super) fn word(self, address: usize) -> Option<usize> {
        let mapping = self.copy.mapping(address)?;
        let is_inside = address.checked_add(8)? <= mapping.end;
        let may = mapping.is(Use::READ) && !mapping.is(Use::DEVICE) && !mapping.is(Use::SPECIAL);
        // SAFETY: mapped and readable when the copy was made, and nothing has unmapped it since.
        (is_inside && may && address.is_multiple_of(8)).then(|| unsafe { read(address) })
    }

    /// Whether it is the address of a function in a file.
    pub(super) fn is_code(self, address: usize) -> bool {
        let mapping = self.copy.mapping(address);
        mapping.is_some_and(|mapping| mapping.is(Use::EXECUTE) && mapping.is(Use::FILE))
    }

    /// Whether so many words there are a file's private data, as constants are.
    pub(super) fn is_constant(self, address: usize, words: usize) -> bool {
        let mapping = self.copy.mapping(address);
        mapping.is_some_and(|mapping| {
            let is_data = mapping.is(Use::READ) && mapping.is(Use::FILE);
            let is_other = mapping.is(Use::EXECUTE) || mapping.is(Use::SHARED);
            is_data && !is_other && address.is_multiple_of(8) && address + 8 * words <= mapping.end
        })
    }

    /// Whether it is private memory that can be written to.
    pub(super) fn is_own(self, address: usize) -> bool {
        self.copy
            .mapping(address)
            .is_some_and(|mapping| self.has_own(mapping))
    }

    fn has_own(self, mapping: &Mapping) -> bool {
        let is_own = mapping.is(Use::READ) && mapping.is(Use::WRITE);
        let is_other = mapping.is(Use::SHARED)
            || mapping.is(Use::DEVICE)
            || mapping.is(Use::SPECIAL)
            || self.copy.is_buffer(mapping);
        is_own && !is_other
    }

    /// A range, if it lies in one mapping of private memory.
    pub(super) fn piece(self, start: usize, end: usize) -> Option<Piece> {
        let mapping = self.copy.mapping(start)?;
        let is_inside = start <= end && end <= mapping.end && start.is_multiple_of(8);
        (is_inside && self.has_own(mapping)).then_some(Piece { start, end })
    }

    /// Goes through all private memory that is present, but for stacks, in pieces of whole pages.
    pub(super) fn each_piece(self, pages: &mut [u64], mut look: impl FnMut(Piece)) {
        for mapping in self.copy.mappings() {
            if !self.has_own(mapping) || mapping.is(Use::STACK) {
                continue;
            }
            let mut start = mapping.start;
            while start < mapping.end {
                let end = mapping.end.min(start + PIECE * PAGE);
                self.present(start, end, pages, &mut look);
                start = end;
            }
        }
    }

    /// Memory that was reserved and never touched may be larger than all there is.
    fn present(self, start: usize, end: usize, pages: &mut [u64], look: &mut impl FnMut(Piece)) {
        let Some(present) = self.copy.present(start, end, pages) else {
            return look(Piece { start, end });
        };
        let mut from = None;
        for (index, byte) in present.iter().chain([&0]).enumerate() {
            let at = start + index * PAGE;
            match (from, byte & 1 != 0) {
                (None, true) => from = Some(at),
                (Some(begin), false) => {
                    look(Piece {
                        start: begin,
                        end: at.min(end),
                    });
                    from = None;
                }
                _ => {}
            }
        }
    }
}

/// Memory that can be read and written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Piece {
    /// All of it.
    pub(super) fn bytes(self) -> &'static [u8] {
        // SAFETY: mapped, readable, and written to by nobody as long as the caller looks at it.
        unsafe {
            std::slice::from_raw_parts(
                ptr::with_exposed_provenance(self.start),
                self.end - self.start,
            )
        }
    }

    /// The words at each multiple of `step` from the start, with their addresses.
    pub(super) fn words(self, step: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = self.start.next_multiple_of(step);
        (first..self.end).step_by(step).map(|address| {
            // SAFETY: within the piece, which is mapped and readable; pieces end at whole words.
            (address, unsafe { read(address) })
        })
    }
}

/// # Safety
/// There is a word that can be read.
pub(super) unsafe fn read(address: usize) -> usize {
    // SAFETY: the caller's. Volatile, as the memory is that of objects of others.
    unsafe { ptr::with_exposed_provenance::<usize>(address).read_volatile() }
}

/// # Safety
/// There is a word that can be written to, and whoever uses it can do with the value.
pub(super) unsafe fn write(address: usize, value: usize) {
    // SAFETY: the caller's.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(address).write_volatile(value) };
}
