//! Measures what unwinding costs: a stack of 30 frames, and a refresh when nothing has changed.

#[path = "../tests/own_stack/capture.rs"]
mod capture;

use std::hint::black_box;

use capture::{Captured, capture};
use rtops_unwind::Unwinder;

fn main() {
    divan::main();
}

#[inline(never)]
fn recurse(depth: usize) -> (Captured, u64) {
    let local = black_box(depth);
    let result = if depth == 0 {
        let captured = capture();
        let base = captured.registers.sp;
        (captured, base)
    } else {
        recurse(black_box(depth - 1))
    };
    // Level 28 is the 30th frame, counting `capture` and level 0.
    if depth == 28 {
        (result.0, (&raw const local).addr() as u64)
    } else {
        result
    }
}

#[divan::bench]
fn thirty_frames(bencher: divan::Bencher<'_, '_>) {
    let (captured, base) = recurse(40);
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    let mut frames = Vec::with_capacity(64);
    unwinder.unwind(&captured.slice(), Some(base), &mut frames);
    assert_eq!(frames.len(), 30);
    assert_eq!(frames[1..], captured.callers[..29]);
    bencher.bench_local(|| {
        frames.clear();
        unwinder.unwind(black_box(&captured.slice()), Some(base), &mut frames)
    });
}

#[divan::bench]
fn refresh_unchanged(bencher: divan::Bencher<'_, '_>) {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    bencher.bench_local(|| unwinder.refresh());
}

#[divan::bench]
fn first_refresh(bencher: divan::Bencher<'_, '_>) {
    bencher.bench(|| {
        let mut unwinder = Unwinder::new();
        unwinder.refresh();
        unwinder
    });
}
