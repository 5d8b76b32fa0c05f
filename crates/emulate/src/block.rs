//! Decoded code: runs of instructions up to the next jump, found by the address of the first.

use std::collections::HashMap;

use iced_x86::{Code, Decoder, DecoderOptions};

use crate::{
    decode::decode,
    memory::Memory,
    op::{Flow, Op},
    run::Breakpoints,
    source::{Fault, PAGE_SIZE},
};

/// The longest instruction, in bytes.
const LONGEST: usize = 15;
/// The maximum number of instructions in a block.
const BLOCK_SIZE: usize = 64;
const TABLE_SIZE: usize = 2048;

/// The position of a block in [`Blocks::ops`].
#[derive(Clone, Copy, Default)]
struct Place {
    first: u32,
    count: u32,
    breakpoint: bool,
}

/// A run of consecutive instructions.
pub(crate) struct Block<'a> {
    pub(crate) ops: &'a [Op],
    /// Whether there is a breakpoint at the first instruction; the others have none.
    pub(crate) breakpoint: bool,
}

/// All blocks decoded so far.
pub(crate) struct Blocks {
    ops: Vec<Op>,
    places: HashMap<u64, Place>,
    /// A direct-mapped cache in front of `places`.
    table: Box<[(u64, Place)]>,
    /// For each page address, the addresses of the blocks that have bytes in that page.
    pages: HashMap<u64, Vec<u64>>,
    breakpoints: Breakpoints,
    limit: usize,
}

/// An address that is not canonical, so no block begins there.
const NOWHERE: u64 = 1 << 63;

impl Blocks {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            ops: Vec::new(),
            places: HashMap::new(),
            table: vec![(NOWHERE, Place::default()); TABLE_SIZE].into(),
            pages: HashMap::new(),
            breakpoints: Breakpoints::default(),
            limit: limit.max(BLOCK_SIZE),
        }
    }

    /// Makes blocks end before these breakpoints.
    pub(crate) fn set_breakpoints(&mut self, breakpoints: &Breakpoints) {
        if self.breakpoints != *breakpoints {
            let changed: Vec<u64> = self
                .breakpoints
                .difference(breakpoints)
                .iter()
                .map(|&at| page_of(at))
                .collect();
            self.forget_pages(&changed);
            self.breakpoints = breakpoints.clone();
        }
    }

    /// Returns the block at `address`, and decodes it if necessary.
    #[inline]
    pub(crate) fn at(&mut self, address: u64, memory: &mut Memory<'_>) -> Result<Block<'_>, Fault> {
        let (known, mut place) = self.table[table_index(address)];
        if known != address || address == NOWHERE {
            place = self.find(address, memory)?;
        }
        let first = place.first as usize;
        Ok(Block {
            ops: &self.ops[first..first + place.count as usize],
            breakpoint: place.breakpoint,
        })
    }

    /// Forgets the blocks that have bytes in these pages.
    pub(crate) fn forget_pages(&mut self, addresses: &[u64]) {
        for page in addresses {
            for start in self.pages.remove(page).unwrap_or_default() {
                self.places.remove(&start);
                let entry = &mut self.table[table_index(start)];
                if entry.0 == start {
                    entry.0 = NOWHERE;
                }
            }
        }
    }

    #[cold]
    fn find(&mut self, address: u64, memory: &mut Memory<'_>) -> Result<Place, Fault> {
        let place = match self.places.get(&address) {
            Some(place) => *place,
            None => self.decode(address, memory)?,
        };
        self.table[table_index(address)] = (address, place);
        Ok(place)
    }

    fn decode(&mut self, start: u64, memory: &mut Memory<'_>) -> Result<Place, Fault> {
        if self.ops.len() + BLOCK_SIZE > self.limit {
            self.clear();
        }
        let first = self.ops.len();
        let mut at = start;
        while self.ops.len() - first < BLOCK_SIZE {
            let is_first = at == start;
            // A block ends with its page: the next page may be absent, and never be reached.
            if !is_first && (page_of(at) != page_of(start) || self.breakpoints.contains(at)) {
                break;
            }
            let op = match decode_one(at, memory) {
                Ok(op) => op,
                Err(_) if is_first && self.breakpoints.contains(at) => {
                    return Ok(Place {
                        breakpoint: true,
                        ..Place::default()
                    });
                }
                Err(fault) if is_first => return Err(fault),
                Err(_) => break,
            };
            self.ops.push(op);
            at = at.wrapping_add(u64::from(op.length));
            if op.flow != Flow::Next || op.code == Code::Syscall || op.code == Code::INVALID {
                break;
            }
        }
        let last = at.wrapping_sub(1);
        for page in [page_of(start), page_of(last)] {
            memory.mark_code(page);
            let blocks = self.pages.entry(page).or_default();
            if blocks.last() != Some(&start) {
                blocks.push(start);
            }
        }
        let breakpoint = self.breakpoints.contains(start);
        let place = Place {
            first: first as u32,
            count: (self.ops.len() - first) as u32,
            breakpoint,
        };
        self.places.insert(start, place);
        Ok(place)
    }

    fn clear(&mut self) {
        self.ops.clear();
        self.places.clear();
        self.pages.clear();
        self.table.fill((NOWHERE, Place::default()));
    }
}

fn decode_one(address: u64, memory: &mut Memory<'_>) -> Result<Op, Fault> {
    let mut bytes = [0; LONGEST];
    let present = memory.fetch(address, &mut bytes)?;
    let mut decoder = Decoder::with_ip(64, &bytes[..present], address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() && present < LONGEST {
        // It may continue in the next page: report the fault there.
        memory.fetch(address.wrapping_add(present as u64), &mut [0])?;
    }
    Ok(decode(&instruction))
}

fn page_of(address: u64) -> u64 {
    address & !(PAGE_SIZE as u64 - 1)
}

fn table_index(address: u64) -> usize {
    (address ^ address >> 11) as usize % TABLE_SIZE
}
