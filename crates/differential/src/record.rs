//! What is kept of a run for the comparison.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use rtops_emulate::{Extended, PAGE_SIZE, Page, Registers};

/// The control bits of MXCSR; the others record what happened.
const MXCSR_CONTROL: u32 = 0xffc0;

/// The registers before an instruction, short enough to keep them for each instruction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Brief {
    pub(crate) general: [u64; 16],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    bases: [u64; 2],
    /// A hash of all other registers.
    hash: u64,
}

impl Brief {
    fn of(registers: &Registers) -> Self {
        let x87 = &registers.x87;
        let vectors = registers.vectors.iter().flatten();
        let vectors = vectors.flat_map(|lane| [*lane as u64, (*lane >> 64) as u64]);
        let words = vectors
            .chain(registers.masks)
            .chain([u64::from(registers.mxcsr & MXCSR_CONTROL)])
            .chain([x87.used, x87.top].map(u64::from))
            .chain([u64::from(x87.control)]);
        let used = used_x87(registers);
        let used = used.flat_map(|(_, x)| [x.significand, u64::from(x.exponent)]);
        let hash = words.chain(used).fold(0_u64, |hash, word| {
            (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
        Self {
            general: registers.general,
            rip: registers.rip,
            rflags: registers.rflags,
            bases: [registers.fs_base, registers.gs_base],
            hash,
        }
    }

    /// Returns whether they differ; only these flags count.
    pub(crate) fn differs(&self, other: &Self, flags: u64) -> bool {
        let with_flags = |one: &Self| Self {
            rflags: one.rflags & flags,
            ..*one
        };
        with_flags(self) != with_flags(other)
    }
}

/// Returns the x87 registers that are in use, with their numbers.
pub(crate) fn used_x87(registers: &Registers) -> impl Iterator<Item = (usize, Extended)> {
    let x87 = registers.x87;
    let all = x87.registers.into_iter().enumerate();
    all.filter(move |(number, _)| x87.used >> number & 1 == 1)
}

/// What is kept of a run. [`take`](Self::take) starts a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The registers before each instruction, and at the end.
    pub(crate) registers: Vec<Brief>,
    /// All registers, before the instructions in [`keep`](Self::keep).
    pub(crate) whole: Vec<Registers>,
    /// The instructions for which `whole` is filled, by position in `registers`.
    pub(crate) keep: Range<usize>,
    /// The contents of pages that were written; `None` for a page that can't be read.
    pub(crate) pages: BTreeMap<u64, Option<Box<Page>>>,
    /// The pages to keep, besides those that the machine itself knows of.
    pub(crate) watched: BTreeSet<u64>,
    /// How many pages were written.
    pub(crate) written: usize,
}

impl Record {
    /// Records the registers, before an instruction and at the end.
    pub(crate) fn note(&mut self, registers: &Registers) {
        if self.keep.contains(&self.registers.len()) {
            self.whole.push(registers.clone());
        }
        self.registers.push(Brief::of(registers));
    }

    /// Ends the record; `read` reads pages of memory.
    pub(crate) fn end(
        &mut self,
        registers: &Registers,
        written: usize,
        mut read: impl FnMut(u64, &mut Page) -> bool,
    ) {
        self.note(registers);
        self.written = written;
        for address in &self.watched {
            let mut page = Box::new([0; PAGE_SIZE]);
            let is_read = read(*address, &mut page);
            self.pages.insert(*address, is_read.then_some(page));
        }
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
