//! Estimates how long a process would be stopped, before it is touched.

use std::time::Duration;

use crate::proc::Status;

/// The time that any stop and clone take.
const LEAST: Duration = Duration::from_micros(500);
/// The time that `clone` takes per KiB of page tables, measured: 20 ms for 1 GiB
/// of small pages, which have 2 MiB of tables. The memory itself does not
/// matter: with huge pages there is little to copy.
const CLONE_A_KIB_OF_TABLES: Duration = Duration::from_micros(10);
/// The time that `clone` takes per mapping, measured with 10,000 of them.
const CLONE_A_MAPPING: Duration = Duration::from_micros(4);
/// The time to stop a thread, read its registers, and release it,
/// measured with 256 and 5,000 threads.
const STOP_A_THREAD: Duration = Duration::from_micros(15);
/// The time to read a KiB.
const READ_A_KIB: Duration = Duration::from_nanos(400);

/// The quantities that determine the pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Load {
    /// Page tables, in KiB.
    tables: u64,
    /// Memory that is in no file, in KiB.
    own: u64,
    /// The part of `own` that other processes may share, in KiB.
    shared: u64,
    threads: u64,
}

impl Load {
    /// Reads the load from a status; `None` if the process has no memory.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let number = |name| status.number(name);
        let shared = number("RssShmem").unwrap_or(0);
        let private = number("RssAnon")?.saturating_add(number("VmSwap").unwrap_or(0));
        Some(Self {
            tables: number("VmPTE")?,
            own: private.saturating_add(shared),
            shared,
            threads: number("Threads")?,
        })
    }

    /// Estimates the pause of a copy, with all threads stopped or only one.
    pub(crate) fn of_copying(&self, are_all: bool) -> Duration {
        let threads = if are_all { self.threads } else { 1 };
        LEAST + times(CLONE_A_KIB_OF_TABLES, self.tables) + times(STOP_A_THREAD, threads)
    }

    /// Like [`of_copying`](Self::of_copying), if the number of mappings is known too.
    pub(crate) fn of_copying_mappings(&self, are_all: bool, mappings: usize) -> Duration {
        let mappings = u64::try_from(mappings).unwrap_or(u64::MAX);
        self.of_copying(are_all) + times(CLONE_A_MAPPING, mappings)
    }

    /// Estimates the pause if all threads are stopped while its own memory is read.
    pub(crate) fn of_reading(&self) -> Duration {
        LEAST + times(READ_A_KIB, self.own) + times(STOP_A_THREAD, self.threads)
    }

    /// Returns the bytes that a copy takes in any case, for its page tables.
    pub(crate) const fn tables_bytes(&self) -> u64 {
        self.tables << 10
    }

    /// Returns the bytes that may come to exist twice.
    pub(crate) const fn own_bytes(&self) -> u64 {
        self.own << 10
    }

    /// Returns whether other processes may write to some of it. The page tables of a copy do not
    /// show which of those pages are present.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shared != 0
    }
}

fn times(one: Duration, number: u64) -> Duration {
    one.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn page_tables_and_threads_count_for_a_copy_and_memory_for_reading() {
        let load = |tables: u64, own: u64, threads: u64| {
            let text = format!("VmPTE:\t{tables} kB\nRssAnon:\t{own} kB\nThreads:\t{threads}\n");
            Load::of(&Status::from_text(&text)).unwrap()
        };
        let (small, large) = (load(100, 1 << 10, 4), load(2048, 1 << 20, 4));
        let huge_pages = load(100, 1 << 20, 4);
        assert!(small.of_copying(true) < Duration::from_millis(3));
        assert!(large.of_copying(true) > Duration::from_millis(20));
        assert_eq!(huge_pages.of_copying(true), small.of_copying(true));
        assert!(huge_pages.of_reading() > Duration::from_millis(100));
        let threads = load(100, 1 << 10, 5000);
        assert!(threads.of_copying(true) > threads.of_copying(false) * 10);
        let mappings = small.of_copying_mappings(true, 10_000);
        assert!(mappings > small.of_copying(true) + Duration::from_millis(10));
        assert!(Load::of(&Status::from_text("Threads:\t1\n")).is_none());
    }
}
