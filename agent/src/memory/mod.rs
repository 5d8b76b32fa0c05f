//! Asks the allocators of this process for figures, and to give memory back.
//!
//! Each is found by its symbols, without a dependency on it, if the service links it. There may be
//! more than one: C code uses libc's even if the service's own code uses another one. All of this
//! runs in a client's thread, and holds up others only through the locks that an allocator takes.

#[cfg(feature = "jemalloc")]
mod jemalloc;
mod libc_malloc;
#[cfg(feature = "mimalloc")]
mod mimalloc;
mod symbols;
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
mod weak;

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
    time::Instant,
};

use rtops_protocol::{Allocator, Figure, HeapWalk, Memory, TrimCall, Trimmed, Unit};
use rtops_tasks::Monotonic;

use crate::alloc;

/// Returns what is known now.
pub(crate) fn memory(walk: HeapWalk) -> Memory {
    // The allocator of the service's own code comes first. libc's is always there.
    let found = [
        #[cfg(feature = "jemalloc")]
        jemalloc::figures(),
        #[cfg(feature = "mimalloc")]
        mimalloc::figures(),
        Some(libc_malloc::figures(walk)),
    ];
    Memory {
        clock_ns: Monotonic::now().as_nanos(),
        allocators: found.into_iter().flatten().collect(),
        counted: alloc::counted(),
    }
}

/// Makes each allocator give back what it can. Returns `None` while another client does so, as a
/// second trim would only take time.
pub(crate) fn trim() -> Option<Trimmed> {
    let _turn = Turn::take()?;
    let before = memory(HeapWalk::IfSmall);
    let calls = [
        #[cfg(feature = "jemalloc")]
        jemalloc::trim(),
        #[cfg(feature = "mimalloc")]
        mimalloc::trim(),
        libc_malloc::trim(),
    ];
    Some(Trimmed {
        before,
        calls: calls.into_iter().flatten().collect(),
        after: memory(HeapWalk::IfSmall),
    })
}

/// The right to trim, released when dropped.
struct Turn;

static TRIMMING: AtomicBool = AtomicBool::new(false);

impl Turn {
    fn take() -> Option<Self> {
        (!TRIMMING.swap(true, Acquire)).then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TRIMMING.store(false, Release);
    }
}

/// Asks an allocator, and measures how long that takes.
fn ask(name: &str, fill: impl FnOnce(&mut Allocator)) -> Allocator {
    let mut allocator = Allocator {
        name: name.to_owned(),
        held: None,
        in_use: None,
        kept: None,
        figures: Vec::new(),
        notes: Vec::new(),
        took_ns: 0,
    };
    let started = Instant::now();
    fill(&mut allocator);
    allocator.took_ns = nanoseconds_since(started);
    allocator
}

/// Makes an allocator give memory back, and measures how long that takes.
fn give_back(allocator: &str, call: &str, run: impl FnOnce() -> Result<(), i32>) -> TrimCall {
    let started = Instant::now();
    let failed = run().err();
    TrimCall {
        allocator: allocator.to_owned(),
        call: call.to_owned(),
        took_ns: nanoseconds_since(started),
        failed,
    }
}

fn nanoseconds_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn bytes(name: &str, value: u64) -> Figure {
    Figure {
        name: name.to_owned(),
        unit: Unit::Bytes,
        value,
    }
}

fn count(name: &str, value: u64) -> Figure {
    Figure {
        name: name.to_owned(),
        unit: Unit::Count,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trim_at_a_time() {
        let turn = Turn::take();
        assert!(turn.is_some());
        assert_eq!(trim(), None);
        drop(turn);
        let trimmed = trim().unwrap_or_default();
        assert!(trimmed.calls.iter().all(|call| call.failed.is_none()));
        assert_eq!(trimmed.before.allocators.len(), 1, "{trimmed:?}");
    }

    #[test]
    fn an_allocator_that_is_not_linked_is_not_found() {
        let found = memory(HeapWalk::Always)
            .allocators
            .into_iter()
            .map(|found| found.name);
        let names: Vec<String> = found.collect();
        assert!(
            !names
                .iter()
                .any(|name| name == "jemalloc" || name == "mimalloc")
        );
    }
}
