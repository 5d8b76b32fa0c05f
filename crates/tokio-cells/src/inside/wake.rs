//! Waking what waits inside of tasks.
//!
//! `FuturesUnordered` and its likes poll only the children that were woken. Their wakers are found by
//! their look, two words side by side: one leads to four addresses of functions, the other to
//! private memory. What only looks like a waker is called as well, guarded, in a copy that is there
//! for this purpose.
#![expect(unsafe_code, reason = "calls functions that were found in memory")]

use std::ops::Range;

use rtops_snapshot::{Patience, Poller, Use};

use super::memory::{Memory, Piece, read};
use crate::layout::{WAKE_BY_REF, WAKER_WORDS};

/// So many may go wrong.
const MOST_FAILURES: u64 = 1_000;

/// What looks like a waker.
pub(super) struct Waker {
    pub(super) vtable: usize,
    pub(super) data: usize,
    /// The function that wakes by reference.
    pub(super) wake: usize,
}

/// Finds all that look like wakers.
pub(super) fn each(memory: Memory<'_>, pages: &mut [u64], mut found: impl FnMut(&Waker)) {
    let ranges = constants(memory);
    memory.each_piece(pages, |piece| {
        for (address, vtable) in piece.words(8) {
            let is_constant = ranges.iter().any(|range| range.contains(&vtable));
            if !is_constant || !looks_like_vtable(memory, vtable) {
                continue;
            }
            let Some(wake) = memory.word(vtable + 8 * WAKE_BY_REF) else {
                continue;
            };
            for data in beside(piece, address) {
                if data >= 1 << 16 && data.is_multiple_of(8) && memory.is_own(data) {
                    found(&Waker { vtable, data, wake });
                }
            }
        }
    });
}

/// Calls what was kept; how often that went well.
pub(super) fn wake_all(poller: &mut Poller<'_>, kept: &[[u64; 2]]) -> u64 {
    let (mut woken, mut failed) = (0, 0);
    for [wake, data] in kept {
        // SAFETY: a function of a file, with one argument if it is what it looks like. If it is not,
        // this copy is there to be spoiled.
        let called = unsafe { poller.guarded(*wake as usize, *data as usize, Patience::Short) };
        match called {
            Ok(()) => woken += 1,
            Err(_) => failed += 1,
        }
        if failed == MOST_FAILURES {
            break;
        }
    }
    woken
}

/// Where files' constants lie: those of the program, and those of libraries far above.
fn constants(memory: Memory<'_>) -> [Range<usize>; 2] {
    const ABOVE: usize = 0x7000_0000_0000;
    let none = Range {
        start: usize::MAX,
        end: 0,
    };
    let mut ranges = [none.clone(), none];
    for mapping in memory.copy.mappings() {
        if mapping.is(Use::FILE) && !mapping.is(Use::EXECUTE) && !mapping.is(Use::SHARED) {
            let [program, libraries] = &mut ranges;
            let range = if mapping.start < ABOVE {
                program
            } else {
                libraries
            };
            range.start = range.start.min(mapping.start);
            range.end = range.end.max(mapping.end);
        }
    }
    ranges
}

fn looks_like_vtable(memory: Memory<'_>, address: usize) -> bool {
    memory.is_constant(address, WAKER_WORDS)
        && (0..WAKER_WORDS).all(|word| {
            let function = memory.word(address + 8 * word);
            function.is_some_and(|function| memory.is_code(function))
        })
}

/// The words before and behind, within the piece.
fn beside(piece: Piece, address: usize) -> impl Iterator<Item = usize> {
    let around = [address.wrapping_sub(8), address + 8];
    around
        .into_iter()
        .filter(move |at| *at >= piece.start && at + 8 <= piece.end)
        // SAFETY: within the piece.
        .map(|at| unsafe { read(at) })
}
