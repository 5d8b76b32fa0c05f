//! Reads `/proc/PID/pagemap`: which pages a process has touched.
//!
//! Reading an untouched page would touch it, and reading a reservation of many gigabytes would take
//! as long as if all of it were in use.

use std::{fs::File, io, ops::Range};

use rtops_types::{PAGE, page_of};

use crate::FileOffset;

/// The number of pages that are queried at once.
const ENTRIES: u64 = 8 << 10;
/// The size of a page's entry.
const ENTRY: usize = 8;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// The page is part of a file or of shared memory.
const OF_FILE: u64 = 1 << 61;
/// A guard page, which must not be touched; since Linux 6.15.
const GUARD: u64 = 1 << 58;

/// The open page map of a process.
#[derive(Debug)]
pub(super) struct Pagemap(pub(super) File);

/// The property of a page that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Whether the page differs from one in a new mapping.
    Touched,
    /// Whether the process has its own copy of the page.
    Written,
}

impl Ask {
    const fn of(self, entry: u64) -> bool {
        match self {
            Self::Touched => entry & (PRESENT | SWAPPED | GUARD) != 0,
            Self::Written => entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0,
        }
    }
}

impl Pagemap {
    /// Returns the runs of pages in a range that have the same answer, with that answer. Pages that
    /// can't be queried count as a yes.
    pub(super) const fn runs(&self, range: Range<u64>, ask: Ask) -> Runs<'_> {
        Runs {
            pagemap: &self.0,
            range,
            ask,
            answers: Vec::new(),
            first: 0,
        }
    }

    /// Fills `into` from memory that is in no file, starting at this
    /// address, without touching pages.
    pub(super) fn fill(
        &self,
        memory: &File,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), (usize, io::Error)> {
        let mut rest = into;
        let mut filled = 0;
        let end = address.saturating_add(rest.len() as u64);
        for (run, is_touched) in self.runs(address..end, Ask::Touched) {
            let length = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(length.min(rest.len()));
            if is_touched {
                rtops_files::fill(memory, run.start, piece)
                    .map_err(|(some, error)| (filled + some, error))?;
            } else {
                piece.fill(0);
            }
            filled += piece.len();
            rest = behind;
        }
        Ok(())
    }
}

/// See [`Pagemap::runs`].
pub(super) struct Runs<'a> {
    pagemap: &'a File,
    /// The range that is left.
    range: Range<u64>,
    ask: Ask,
    /// The answers for some pages, and the number of the first of them.
    answers: Vec<bool>,
    first: u64,
}

impl Runs<'_> {
    fn answer(&mut self, address: u64) -> bool {
        let page = address / PAGE;
        let known = page
            .checked_sub(self.first)
            .and_then(|index| self.answers.get(usize::try_from(index).ok()?));
        if let Some(answer) = known {
            return *answer;
        }
        let pages = self.range.end.div_ceil(PAGE).saturating_sub(page);
        let count = usize::try_from(pages.clamp(1, ENTRIES)).unwrap_or(1);
        let mut bytes = vec![0; count * ENTRY];
        let offset = FileOffset(page.saturating_mul(ENTRY as u64));
        let have = rtops_files::read_at_most(self.pagemap, offset.0, &mut bytes).unwrap_or(0);
        let entries = bytes.get(..have).unwrap_or_default().as_chunks().0;
        self.answers.clear();
        let ask = self.ask;
        let told = entries
            .iter()
            .map(|entry| ask.of(u64::from_le_bytes(*entry)));
        self.answers.extend(told);
        self.answers.resize(count, true);
        self.first = page;
        self.answers.first().copied().unwrap_or(true)
    }
}

impl Iterator for Runs<'_> {
    type Item = (Range<u64>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let start = self.range.start;
        let answer = self.answer(start);
        let mut end = start;
        while end < self.range.end && self.answer(end) == answer {
            end = page_of(end).saturating_add(PAGE).min(self.range.end);
        }
        self.range.start = end;
        Some((start..end, answer))
    }
}
