//! Classifies addresses as code, constants, memory that the process writes, or stacks.

use std::ops::Range;

use rtops_image::{Access, Backing, Contents, Image, Region};

/// The largest region that is taken for a thread's stack. A stack pointer into a larger one
/// points into a heap, which holds other things too.
const LARGEST_STACK: u64 = 256 << 20;
/// How far below its stack pointer a function may still use memory, in bytes.
const RED_ZONE: u64 = 128;

/// Sorted ranges of addresses that neither overlap nor touch.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    all: Vec<Range<u64>>,
    /// One bit for each piece of the address space that may hold part of a range. Most words of
    /// memory that are looked up are in none.
    pieces: [u64; PIECES / 64],
}

/// The size of a piece, and the number of pieces with a bit of
/// their own; further pieces reuse the bits.
const PIECE: u64 = 1 << 20;
const PIECES: usize = 4096;

/// Returns the index of the word with the bit for the piece that contains an address, and that bit.
const fn bit(address: u64) -> (usize, u64) {
    let piece = (address / PIECE) as usize % PIECES;
    (piece / 64, 1 << (piece % 64))
}

impl Ranges {
    /// Takes regions in the order of their addresses.
    fn of<'a>(regions: impl Iterator<Item = &'a Region>) -> Self {
        regions.map(|region| region.range.clone()).collect()
    }

    pub(crate) fn contains(&self, address: u64) -> bool {
        self.has_all(address, 1)
    }

    /// Whether all `length` bytes from `address` on are in one range.
    #[inline]
    pub(crate) fn has_all(&self, address: u64, length: u64) -> bool {
        let (word, bit) = bit(address);
        let may_have = self.pieces.get(word).is_some_and(|word| word & bit != 0);
        may_have && self.find(address, length)
    }

    fn find(&self, address: u64, length: u64) -> bool {
        let behind = self.all.partition_point(|range| range.start <= address);
        let range = behind.checked_sub(1).and_then(|index| self.all.get(index));
        range.is_some_and(|range| address < range.end && length <= range.end - address)
    }
}

impl FromIterator<Range<u64>> for Ranges {
    /// Takes ranges in the order of their addresses.
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(all: I) -> Self {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in all {
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        let mut pieces = [0; PIECES / 64];
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            // A range that covers all bits sets each of them once.
            let last = range.end - 1;
            let first = range.start.max(last.saturating_sub(PIECE * PIECES as u64));
            for address in (first..last).step_by(PIECE as usize).chain([last]) {
                let (word, bit) = bit(address);
                if let Some(word) = pieces.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        Self {
            all: ranges,
            pieces,
        }
    }
}

/// Whether a region allows no access and nobody has put anything there: the C library
/// reserves memory for its heaps like that.
pub(crate) fn is_reserved(region: &Region) -> bool {
    region.access == Access::default() && region.backing == Backing::Anonymous
}

/// What is where in memory, as far as finding tasks needs it.
#[derive(Debug)]
pub(crate) struct Places {
    /// Executable, and backed by a file.
    pub(crate) code: Ranges,
    /// Readable, and backed by a file. Vtables are there, among the
    /// code in programs at a fixed address.
    pub(crate) constants: Ranges,
    /// Private, writable and known. Tasks are there.
    pub(crate) own: Ranges,
    /// The stacks of threads.
    pub(crate) stacks: Ranges,
    /// The parts of stacks that only hold leftovers of calls that have returned.
    pub(crate) dead: Ranges,
}

impl Places {
    pub(crate) fn of(image: &impl Image) -> Self {
        let regions = || image.regions().iter();
        let is_file = |region: &&Region| matches!(region.backing, Backing::File { .. });
        let is_known = |region: &&Region| region.contents == Contents::Present;
        let mut pointers: Vec<u64> = image
            .threads()
            .iter()
            .map(|thread| thread.registers.rsp)
            .collect();
        pointers.sort_unstable();
        // The lowest stack pointer into a region that may be a stack.
        let stack_pointer = |region: &Region| {
            let from = pointers.partition_point(|pointer| *pointer < region.range.start);
            let lowest = pointers.get(from).copied();
            let lowest = lowest.filter(|pointer| region.range.contains(pointer));
            let is_small = region.range.end - region.range.start <= LARGEST_STACK;
            lowest.filter(|_| region.is_own() && is_small)
        };
        Self {
            code: Ranges::of(
                regions()
                    .filter(is_file)
                    .filter(|region| region.access.execute),
            ),
            constants: Ranges::of(
                regions()
                    .filter(is_file)
                    .filter(is_known)
                    .filter(|region| region.access.read),
            ),
            own: Ranges::of(regions().filter(|region| region.is_own())),
            stacks: Ranges::of(regions().filter(|region| stack_pointer(region).is_some())),
            dead: {
                let dead = |region: &Region| {
                    region.range.start
                        ..stack_pointer(region).map_or(0, |live| live.saturating_sub(RED_ZONE))
                };
                regions()
                    .map(dead)
                    .filter(|dead| !dead.is_empty())
                    .collect()
            },
        }
    }

    /// Whether an address is aligned and `words` words from there on are constants.
    #[inline]
    pub(crate) fn has_constants(&self, address: u64, words: u64) -> bool {
        address.is_multiple_of(8) && self.constants.has_all(address, 8 * words)
    }
}
