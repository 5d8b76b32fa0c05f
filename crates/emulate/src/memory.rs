//! The memory that code sees: the pages of the source, overlaid with the pages that were written.
//!
//! Pages live in one slab and are identified by their slot in it. Two maps lead from page numbers
//! to slots: `base` holds the unchanged pages of the source and the committed pages, and `written`
//! holds the pages written since. Two small direct-mapped tables in front of the maps answer nearly
//! all accesses.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    ops::Range,
};

use rtops_types::Access;

use crate::source::{Fault, PAGE_SIZE, Page, Source, Wanted, Why};

const OFFSET_BITS: u32 = PAGE_SIZE.trailing_zeros();
const OFFSET_MASK: u64 = PAGE_SIZE as u64 - 1;
const TABLE_SIZE: usize = 256;

/// How much an emulator may keep in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of unchanged pages of the source to keep, at least 64: one
    /// instruction may touch dozens.
    pub cached_pages: usize,
    /// The maximum number of written pages. An instruction that would write one more stops with
    /// [`Why::TooManyWritten`].
    pub written_pages: usize,
    /// The maximum number of decoded instructions; beyond it, all of them are dropped.
    pub decoded_instructions: usize,
}

impl Default for Limits {
    /// Allows 8 MiB of unchanged pages, 64 MiB of written ones, 8 MiB of decoded instructions.
    fn default() -> Self {
        Self {
            cached_pages: 2048,
            written_pages: 16_384,
            decoded_instructions: 1 << 17,
        }
    }
}

/// An entry of a direct-mapped table.
#[derive(Clone, Copy)]
struct Entry {
    page: u64,
    slot: u32,
}

impl Entry {
    /// An empty entry; no address has this page number.
    const EMPTY: Self = Self {
        page: u64::MAX,
        slot: 0,
    };
}

/// Memory that is not in the source.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    first: u64,
    end: u64,
    access: Access,
}

/// The memory that the interpreted code sees.
///
/// What the code writes is kept in a separate layer, until [`commit`](Self::commit) makes it the
/// state to return to or [`revert`](Self::revert) drops it. The [`Source`] is never changed.
pub struct Memory<'s> {
    source: Box<dyn Source + 's>,
    limits: Limits,
    slab: Vec<Page>,
    access: Vec<Access>,
    free: Vec<u32>,
    base: HashMap<u64, u32>,
    written: HashMap<u64, u32>,
    /// The pages of `base` that can be read from the source again, oldest first.
    unchanged: VecDeque<u64>,
    fresh: Vec<Fresh>,
    committed_fresh: usize,
    readable: Box<[Entry; TABLE_SIZE]>,
    writable: Box<[Entry; TABLE_SIZE]>,
    /// Pages that instructions were decoded from.
    code: HashSet<u64>,
    /// Pages of `code` that have changed since.
    stale: Vec<u64>,
    fault: Option<Fault>,
}

/// A failed access; [`Memory::take_fault`] says why. Small, so that it is returned in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faulted;

impl<'s> Memory<'s> {
    pub(crate) fn new(source: impl Source + 's, limits: Limits) -> Self {
        Self {
            source: Box::new(source),
            limits: Limits {
                cached_pages: limits.cached_pages.max(64),
                ..limits
            },
            slab: Vec::new(),
            access: Vec::new(),
            free: Vec::new(),
            base: HashMap::new(),
            written: HashMap::new(),
            unchanged: VecDeque::new(),
            fresh: Vec::new(),
            committed_fresh: 0,
            readable: Box::new([Entry::EMPTY; TABLE_SIZE]),
            writable: Box::new([Entry::EMPTY; TABLE_SIZE]),
            code: HashSet::new(),
            stale: Vec::new(),
            fault: None,
        }
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    ///
    /// [`Fault`] with the first byte that cannot be read.
    pub fn read<const N: usize>(&mut self, address: u64) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read_slice(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into`. The bytes before the first one that cannot be read are filled in any case.
    ///
    /// # Errors
    ///
    /// [`Fault`] with the first byte that cannot be read.
    pub fn read_slice(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.copy_out(address, into, Wanted::Read)
    }

    /// Writes all of `bytes`, or nothing.
    ///
    /// # Errors
    ///
    /// [`Fault`] with the first byte that cannot be written.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        // The first round checks that all bytes can be written.
        for last in [false, true] {
            let (mut address, mut rest) = (address, bytes);
            while !rest.is_empty() {
                let offset = (address & OFFSET_MASK) as usize;
                let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - offset));
                let slot = self.slot_to_write(address)?;
                if last {
                    self.slab[slot as usize][offset..offset + now.len()].copy_from_slice(now);
                }
                address = address.wrapping_add(now.len() as u64);
                rest = later;
            }
        }
        Ok(())
    }

    /// Adds memory that reads as zeros and hides what the source has there. The bounds
    /// are widened to whole pages.
    pub fn map(&mut self, range: Range<u64>, access: Access) {
        let first = range.start >> OFFSET_BITS;
        let end = (range.end >> OFFSET_BITS) + u64::from(range.end & OFFSET_MASK != 0);
        self.fresh.push(Fresh { first, end, access });
        let inside = |page: &u64| (first..end).contains(page);
        self.forget_code(inside);
        let hidden: Vec<u64> = self
            .base
            .keys()
            .chain(self.written.keys())
            .copied()
            .filter(inside)
            .collect();
        for &page in &hidden {
            self.forget_entries(page);
            if let Some(slot) = self.written.remove(&page) {
                self.free.push(slot);
            }
        }
        self.drop_unchanged(inside);
        for page in hidden {
            if self.base.contains_key(&page) && !self.written.contains_key(&page) {
                // The page was committed, and must be there again after a revert.
                let slot = self.allocate(access);
                self.written.insert(page, slot);
            }
        }
    }

    /// Makes the current state the one that [`revert`](Self::revert) returns to.
    pub fn commit(&mut self) {
        self.committed_fresh = self.fresh.len();
        if !self.written.is_empty() {
            let written = &self.written;
            self.unchanged.retain(|page| !written.contains_key(page));
        }
        for (page, slot) in std::mem::take(&mut self.written) {
            self.forget_entries(page);
            if let Some(old) = self.base.insert(page, slot) {
                self.free.push(old);
            }
        }
    }

    /// Drops everything written and mapped since the last [`commit`](Self::commit).
    pub fn revert(&mut self) {
        let mut written = std::mem::take(&mut self.written);
        for (page, slot) in written.drain() {
            self.forget_entries(page);
            self.free.push(slot);
            if self.code.remove(&page) {
                self.stale.push(page);
            }
        }
        // Keeps the allocation: most callers revert again and again.
        self.written = written;
        if self.fresh.len() > self.committed_fresh {
            let dropped = self.fresh.split_off(self.committed_fresh);
            let inside = |page: &u64| {
                dropped
                    .iter()
                    .any(|fresh| (fresh.first..fresh.end).contains(page))
            };
            self.forget_code(inside);
            self.drop_unchanged(inside);
        }
    }

    /// Returns the number of pages written since the last [`commit`](Self::commit).
    pub fn written_pages(&self) -> usize {
        self.written.len()
    }

    /// Copies the bytes of an instruction. Returns how many there were: fewer than asked for if the
    /// next page cannot be executed.
    pub(crate) fn fetch(&mut self, address: u64, into: &mut [u8]) -> Result<usize, Fault> {
        match self.copy_out(address, into, Wanted::Execute) {
            Ok(()) => Ok(into.len()),
            Err(fault) if fault.address == address => Err(fault),
            Err(fault) => Ok(fault.address.wrapping_sub(address) as usize),
        }
    }

    /// Remembers that instructions were decoded from this page.
    pub(crate) fn mark_code(&mut self, address: u64) {
        let page = address >> OFFSET_BITS;
        if self.code.insert(page) {
            // The next write must not be served from the table, so that it marks the code as stale.
            let entry = &mut self.writable[page as usize % TABLE_SIZE];
            if entry.page == page {
                *entry = Entry::EMPTY;
            }
        }
    }

    /// Returns whether instructions were changed after they were decoded.
    #[inline]
    pub(crate) fn has_stale_code(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Takes the addresses of the pages whose instructions must be decoded again.
    pub(crate) fn take_stale_code(&mut self) -> Vec<u64> {
        self.stale
            .drain(..)
            .map(|page| page << OFFSET_BITS)
            .collect()
    }

    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    pub(crate) fn fail(&mut self, fault: Fault) -> Faulted {
        self.fault = Some(fault);
        Faulted
    }

    #[inline]
    pub(crate) fn load<const N: usize>(&mut self, address: u64) -> Result<[u8; N], Faulted> {
        let page = address >> OFFSET_BITS;
        let entry = self.readable[page as usize % TABLE_SIZE];
        if entry.page == page
            && let Some(bytes) = self.slab.get(entry.slot as usize)
            && let Some(bytes) = bytes[(address & OFFSET_MASK) as usize..].first_chunk()
        {
            return Ok(*bytes);
        }
        self.read(address).map_err(|fault| self.fail(fault))
    }

    #[inline]
    pub(crate) fn store<const N: usize>(
        &mut self,
        address: u64,
        value: [u8; N],
    ) -> Result<(), Faulted> {
        let page = address >> OFFSET_BITS;
        let entry = self.writable[page as usize % TABLE_SIZE];
        if entry.page == page
            && let Some(bytes) = self.slab.get_mut(entry.slot as usize)
            && let Some(bytes) = bytes[(address & OFFSET_MASK) as usize..].first_chunk_mut()
        {
            *bytes = value;
            return Ok(());
        }
        self.write(address, &value)
            .map_err(|fault| self.fail(fault))
    }

    pub(crate) fn load_slice(&mut self, address: u64, into: &mut [u8]) -> Result<(), Faulted> {
        self.read_slice(address, into)
            .map_err(|fault| self.fail(fault))
    }

    pub(crate) fn store_slice(&mut self, address: u64, bytes: &[u8]) -> Result<(), Faulted> {
        self.write(address, bytes).map_err(|fault| self.fail(fault))
    }

    fn copy_out(&mut self, mut address: u64, into: &mut [u8], wanted: Wanted) -> Result<(), Fault> {
        let mut rest = into;
        while !rest.is_empty() {
            let offset = (address & OFFSET_MASK) as usize;
            let size = rest.len().min(PAGE_SIZE - offset);
            let (now, later) = rest.split_at_mut(size);
            let slot = self.slot(address, wanted)?;
            now.copy_from_slice(&self.slab[slot as usize][offset..offset + size]);
            address = address.wrapping_add(size as u64);
            rest = later;
        }
        Ok(())
    }

    /// Returns the slot of the page of `address`, if the page allows the access.
    fn slot(&mut self, address: u64, wanted: Wanted) -> Result<u32, Fault> {
        let fault = |why| Fault {
            address,
            wanted,
            why,
        };
        let page = address >> OFFSET_BITS;
        let slot = match self.written.get(&page).or_else(|| self.base.get(&page)) {
            Some(slot) => *slot,
            None if !is_canonical(address) => return Err(fault(Why::NonCanonical)),
            None => self.bring_in(page).map_err(fault)?,
        };
        if !wanted.is_allowed(self.access[slot as usize]) {
            return Err(fault(Why::NotAllowed));
        }
        if wanted == Wanted::Read {
            self.readable[page as usize % TABLE_SIZE] = Entry { page, slot };
        }
        Ok(slot)
    }

    /// Returns the slot of the page of `address`, and copies the page first
    /// if it was not yet written.
    fn slot_to_write(&mut self, address: u64) -> Result<u32, Fault> {
        let page = address >> OFFSET_BITS;
        let from = self.slot(address, Wanted::Write)?;
        let slot = match self.written.get(&page) {
            Some(slot) => *slot,
            None => {
                // Every slot in use that does not hold an unchanged page of the source was written.
                let in_use = self.slab.len() - self.free.len() - self.unchanged.len();
                if in_use >= self.limits.written_pages {
                    return Err(Fault {
                        address,
                        wanted: Wanted::Write,
                        why: Why::TooManyWritten,
                    });
                }
                let slot = self.allocate(self.access[from as usize]);
                self.slab[slot as usize] = self.slab[from as usize];
                self.written.insert(page, slot);
                slot
            }
        };
        if self.code.remove(&page) {
            self.stale.push(page);
        }
        self.writable[page as usize % TABLE_SIZE] = Entry { page, slot };
        let readable = &mut self.readable[page as usize % TABLE_SIZE];
        if readable.page == page {
            readable.slot = slot;
        }
        Ok(slot)
    }

    /// Reads a page from the source, and evicts the oldest one if the limit is reached.
    fn bring_in(&mut self, page: u64) -> Result<u32, Why> {
        if self.unchanged.len() >= self.limits.cached_pages
            && let Some(oldest) = self.unchanged.pop_front()
        {
            self.forget_entries_of_base(oldest);
            if let Some(slot) = self.base.remove(&oldest) {
                self.free.push(slot);
            }
        }
        let slot = self.allocate(Access::default());
        let fresh = self
            .fresh
            .iter()
            .rev()
            .find(|fresh| (fresh.first..fresh.end).contains(&page));
        let access = match fresh {
            Some(fresh) => Ok(fresh.access),
            None => self
                .source
                .page(page << OFFSET_BITS, &mut self.slab[slot as usize]),
        };
        match access {
            Ok(access) => {
                self.access[slot as usize] = access;
                self.base.insert(page, slot);
                self.unchanged.push_back(page);
                Ok(slot)
            }
            Err(absent) => {
                self.free.push(slot);
                Err(absent.into())
            }
        }
    }

    /// Allocates a page of zeros.
    fn allocate(&mut self, access: Access) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slab[slot as usize] = [0; PAGE_SIZE];
            self.access[slot as usize] = access;
            return slot;
        }
        self.slab.push([0; PAGE_SIZE]);
        self.access.push(access);
        self.slab.len() as u32 - 1
    }

    fn forget_entries(&mut self, page: u64) {
        for table in [&mut self.readable, &mut self.writable] {
            let entry = &mut table[page as usize % TABLE_SIZE];
            if entry.page == page {
                *entry = Entry::EMPTY;
            }
        }
    }

    /// Forgets the entries of a page that leaves `base`. Entries that name the
    /// same page in `written` stay.
    fn forget_entries_of_base(&mut self, page: u64) {
        if !self.written.contains_key(&page) {
            self.forget_entries(page);
        }
    }

    /// Drops unchanged pages whose content is out of date.
    fn drop_unchanged(&mut self, inside: impl Fn(&u64) -> bool) {
        let (gone, kept): (Vec<u64>, Vec<u64>) =
            self.unchanged.iter().partition(|page| inside(page));
        if gone.is_empty() {
            return;
        }
        self.unchanged = kept.into();
        for page in gone {
            self.forget_entries(page);
            if let Some(slot) = self.base.remove(&page) {
                self.free.push(slot);
            }
        }
    }

    fn forget_code(&mut self, inside: impl Fn(&u64) -> bool) {
        self.stale.extend(self.code.iter().copied().filter(&inside));
        self.code.retain(|page| !inside(page));
    }
}

impl fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("unchanged", &self.unchanged.len())
            .field("written", &self.written.len())
            .finish_non_exhaustive()
    }
}

/// Returns whether the processor accepts the address: bits 47 to 63 are equal.
fn is_canonical(address: u64) -> bool {
    ((address << 16) as i64 >> 16) as u64 == address
}
