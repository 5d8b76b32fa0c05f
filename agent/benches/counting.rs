//! The cost of counting: each figure beside that of the same work without counting, and the ratio.
//!
//! `cargo bench -p rtops-agent --bench counting`
#![expect(unsafe_code, reason = "allocators are called by hand")]
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    time::Instant,
};

use divan::Bencher;
use rtops_agent::alloc::Counting;

/// The number of blocks held at once. With more than one, the allocator can't hand out the same
/// block again and again.
const HELD: usize = 256;
/// A slice of a few milliseconds: short enough that most are not interrupted.
const ROUNDS: u32 = 400;
const TRIES: usize = 100;

fn main() {
    ratios();
    divan::main();
}

/// Allocates blocks of mixed sizes, and frees them in another order.
fn churn(allocator: &impl GlobalAlloc) {
    let layout = |number: usize| Layout::from_size_align(16 + number * 37 % 2000, 8);
    let mut held = [std::ptr::null_mut(); HELD];
    for (number, block) in held.iter_mut().enumerate() {
        let layout = layout(number).expect("sizes are small");
        // SAFETY: the size is not zero.
        *block = black_box(unsafe { allocator.alloc(layout) });
        assert!(!block.is_null());
    }
    for step in 0..HELD {
        let number = step * 101 % HELD;
        let layout = layout(number).expect("sizes are small");
        // SAFETY: the block came from this allocator with this layout, and `number` takes each
        // value once, as 101 and 256 have no common factor.
        unsafe { allocator.dealloc(held[number], layout) };
    }
}

/// Both sides take turns, so that other load on the machine hits both. The fastest run
/// of each counts.
fn ratios() {
    let bare = System;
    let counting = Counting::new(System);
    for threads in [1, 2] {
        let mut best = [f64::INFINITY; 2];
        for _ in 0..TRIES {
            best[0] = best[0].min(nanoseconds(threads, &bare));
            best[1] = best[1].min(nanoseconds(threads, &counting));
        }
        let [bare, counting] = best;
        println!(
            "{threads} thread(s): a block costs {bare:.1} ns, counted {counting:.1} ns: \
             {:.1} ns more, {:.2} times",
            counting - bare,
            counting / bare
        );
    }
}

/// The time that one block takes, from allocation to free.
fn nanoseconds(threads: usize, allocator: &(impl GlobalAlloc + Sync)) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..ROUNDS).for_each(|_| churn(allocator)));
        }
    });
    started.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / HELD as f64
}

#[divan::bench(threads = [1, 2, 8])]
fn churn_256_bare(bencher: Bencher<'_, '_>) {
    bencher.bench(|| churn(&System));
}

#[divan::bench(threads = [1, 2, 8])]
fn churn_256_counted(bencher: Bencher<'_, '_>) {
    bencher.bench(|| churn(&Counting::new(System)));
}
