//! The memory that the process and its copies share, and what is written to it: records one way,
//! orders the other, and the table of mappings.
//!
//! A polled future that goes astray may write anything here, so whatever is read is checked, and
//! copied before it is looked at.
#![expect(unsafe_code, reason = "memory that several processes write to")]

use std::{
    io, ptr,
    sync::atomic::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::environment::Mapping;

/// The bytes of records that are under way at most, a power of two.
const RING: usize = 16 << 20;
/// After so many bytes of records the other side is told that there are some.
const WORTH_TELLING: usize = 256 << 10;
/// The longest record, in bytes.
pub(crate) const MAX_RECORD: usize = 4 << 20;
/// The most words of one order.
pub(crate) const MAX_ORDER: usize = 1 << 18;
/// The most mappings.
pub(crate) const MAX_MAPPINGS: usize = 1 << 16;
/// What a record starts with: its length.
const HEADER: usize = 8;

/// The head of the shared memory.
#[repr(C, align(4096))]
struct Control {
    /// Bytes of records written so far, and read so far.
    written: AtomicUsize,
    read: AtomicUsize,
    /// Change whenever the other side has something to look at; futexes.
    outward: AtomicU32,
    inward: AtomicU32,
    /// How many mappings there are, once they are known.
    mappings: AtomicUsize,
    /// The number of the latest order, and its length in words.
    order: AtomicU32,
    order_len: AtomicUsize,
    /// Whatever the inside keeps across the copies that it makes.
    progress: AtomicU64,
}

#[repr(C)]
struct Layout {
    control: Control,
    order: [u64; MAX_ORDER],
    mappings: [Mapping; MAX_MAPPINGS],
    ring: [u8; RING],
}

/// The memory itself, mapped for as long as this lives.
pub(crate) struct Shared(*mut Layout);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What was found in the ring is no record.
#[derive(Debug)]
pub(crate) struct Malformed;

impl Shared {
    /// Maps it; pages that are never touched take no memory.
    pub(crate) fn map() -> io::Result<Self> {
        // SAFETY: a new mapping, at no address in particular.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Layout>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(memory.cast()))
    }

    /// Where it lies.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.0.addr(), self.0.addr() + size_of::<Layout>())
    }

    fn control(&self) -> &Control {
        // SAFETY: mapped as long as `self` is, zeroed at first, and made of atomics only.
        unsafe { &(*self.0).control }
    }

    /// What the inside keeps across its copies.
    pub(crate) fn progress(&self) -> &AtomicU64 {
        &self.control().progress
    }

    /// Changes when there is something to read outside.
    pub(crate) fn outward(&self) -> &AtomicU32 {
        &self.control().outward
    }

    /// Changes when there is something to read inside, or room to write.
    pub(crate) fn inward(&self) -> &AtomicU32 {
        &self.control().inward
    }

    /// Tells the inside which mappings there are.
    pub(crate) fn set_mappings(&self, mappings: &[Mapping]) {
        let count = mappings.len().min(MAX_MAPPINGS);
        // SAFETY: within the array, which nobody else touches before the count is set.
        unsafe {
            let to = (&raw mut (*self.0).mappings).cast::<Mapping>();
            ptr::copy_nonoverlapping(mappings.as_ptr(), to, count);
        }
        self.control().mappings.store(count, Release);
    }

    /// The mappings, once they are known.
    pub(crate) fn mappings(&self) -> Option<&[Mapping]> {
        let count = self.control().mappings.load(Acquire).min(MAX_MAPPINGS);
        // SAFETY: set by `set_mappings` before the count was, and never again.
        let all =
            unsafe { std::slice::from_raw_parts((&raw const (*self.0).mappings).cast(), count) };
        (count > 0).then_some(all)
    }

    /// Writes an order; the inside must have taken the last one.
    pub(crate) fn put_order(&self, words: &[u64]) {
        let count = words.len().min(MAX_ORDER);
        // SAFETY: within the array, which the inside does not read between two orders.
        unsafe {
            let to = (&raw mut (*self.0).order).cast::<u64>();
            ptr::copy_nonoverlapping(words.as_ptr(), to, count);
        }
        self.control().order_len.store(count, Relaxed);
        self.control().order.fetch_add(1, Release);
    }

    /// The order with this number, once it was written.
    pub(crate) fn order(&self, number: u32) -> Option<&[u64]> {
        if self.control().order.load(Acquire) != number {
            return None;
        }
        let count = self.control().order_len.load(Relaxed).min(MAX_ORDER);
        // SAFETY: within the array, and not written to before this order was carried out.
        Some(unsafe { std::slice::from_raw_parts((&raw const (*self.0).order).cast(), count) })
    }

    /// Whether a record of `bytes` fits now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let control = self.control();
        let used = control
            .written
            .load(Relaxed)
            .wrapping_sub(control.read.load(Acquire));
        used.saturating_add(padded(bytes)) <= RING
    }

    /// Writes a record that is made of these parts; there must be room. Whether the other side should be
    /// told: it is not worth its while for each.
    pub(crate) fn write(&self, parts: &[&[u8]]) -> bool {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let start = self.control().written.load(Relaxed);
        let header = (bytes as u64).to_le_bytes();
        let mut at = start;
        for part in [&header[..]].iter().chain(parts) {
            self.copy_in(at, part);
            at = at.wrapping_add(part.len());
        }
        let end = start.wrapping_add(padded(bytes));
        self.control().written.store(end, Release);
        start / WORTH_TELLING != end / WORTH_TELLING
    }

    fn copy_in(&self, at: usize, part: &[u8]) {
        let offset = at % RING;
        let first = part.len().min(RING - offset);
        // SAFETY: both pieces lie within the ring: no part is longer than it.
        unsafe {
            let ring = (&raw mut (*self.0).ring).cast::<u8>();
            ptr::copy_nonoverlapping(part.as_ptr(), ring.add(offset), first);
            ptr::copy_nonoverlapping(part.as_ptr().add(first), ring, part.len() - first);
        }
    }

    /// Takes the next record out, if there is one.
    pub(crate) fn read(&self, into: &mut Vec<u8>) -> Result<bool, Malformed> {
        let control = self.control();
        let start = control.read.load(Relaxed);
        let available = control.written.load(Acquire).wrapping_sub(start);
        if available == 0 {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        if !(HEADER..=RING).contains(&available) {
            return Err(Malformed);
        }
        self.copy_out(start, &mut header);
        let bytes = usize::try_from(u64::from_le_bytes(header)).map_err(|_| Malformed)?;
        if bytes > MAX_RECORD || padded(bytes) > available {
            return Err(Malformed);
        }
        into.clear();
        into.resize(bytes, 0);
        self.copy_out(start.wrapping_add(HEADER), into);
        control
            .read
            .store(start.wrapping_add(padded(bytes)), Release);
        Ok(true)
    }

    fn copy_out(&self, at: usize, into: &mut [u8]) {
        let offset = at % RING;
        let first = into.len().min(RING - offset);
        // SAFETY: both pieces lie within the ring. Should a copy gone astray write there meanwhile,
        // the bytes are wrong, and are checked by whoever reads them.
        unsafe {
            let ring = (&raw const (*self.0).ring).cast::<u8>();
            ptr::copy_nonoverlapping(ring.add(offset), into.as_mut_ptr(), first);
            ptr::copy_nonoverlapping(ring, into.as_mut_ptr().add(first), into.len() - first);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and borrowed by nothing any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Layout>()) };
    }
}

/// A record with its header, so that the next one is aligned.
const fn padded(bytes: usize) -> usize {
    (bytes.saturating_add(HEADER + 7)) & !7
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_also_across_the_end_of_the_ring() {
        let shared = Shared::map().unwrap();
        let mut out = Vec::new();
        let long: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
        for round in 0..40_u8 {
            assert!(shared.has_room(long.len() + 1));
            shared.write(&[&[round], &long]);
            shared.write(&[]);
            assert!(shared.read(&mut out).unwrap());
            assert!(out.first() == Some(&round) && out.get(1..) == Some(&long[..]));
            assert!(shared.read(&mut out).unwrap());
            assert!(out.is_empty());
            assert!(!shared.read(&mut out).unwrap());
        }
    }

    #[test]
    fn a_full_ring_has_no_room_until_somebody_reads() {
        let shared = Shared::map().unwrap();
        let record = vec![7; MAX_RECORD];
        let mut count = 0;
        while shared.has_room(record.len()) {
            shared.write(&[&record]);
            count += 1;
        }
        assert_eq!(count, 3);
        assert!(shared.read(&mut Vec::new()).unwrap());
        assert!(shared.has_room(record.len()));
    }

    #[test]
    fn nonsense_in_the_ring_is_no_record() {
        for (written, length) in [(8, 1), (16, u64::MAX), (RING + 8, 0), (4, 0)] {
            let shared = Shared::map().unwrap();
            shared.copy_in(0, &length.to_le_bytes());
            shared.control().written.store(written, Relaxed);
            assert!(shared.read(&mut Vec::new()).is_err(), "{written} {length}");
        }
    }

    #[test]
    fn an_order_is_there_once_it_was_written() {
        let shared = Shared::map().unwrap();
        assert!(shared.order(1).is_none());
        shared.put_order(&[1, 2, 3]);
        assert_eq!(shared.order(1), Some(&[1, 2, 3][..]));
        assert!(shared.order(2).is_none());
    }
}
