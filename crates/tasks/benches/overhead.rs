//! The cost of tracking: each figure beside that of the same work without tracking.
//!
//! `cargo bench -p rtops-tasks`

use std::{
    future::Future,
    hint::black_box,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use divan::Bencher;
use rtops_tasks::{Kind, Track, Tracked};

fn main() {
    divan::main();
}

/// Never ready, and does as little in a poll as possible.
struct Idle(u64);

impl Future for Idle {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0 = black_box(self.0 + 1);
        Poll::Pending
    }
}

#[divan::bench]
fn poll_bare(bencher: Bencher) {
    let mut future = Box::pin(Idle(0));
    let mut context = Context::from_waker(Waker::noop());
    bencher.bench_local(|| black_box(future.as_mut()).poll(&mut context));
}

#[divan::bench]
fn poll_tracked(bencher: Bencher) {
    let mut future = Box::pin(Idle(0).tracked("idle"));
    let mut context = Context::from_waker(Waker::noop());
    // The first poll does more, and would make divan take a sample for each of the others.
    assert!(future.as_mut().poll(&mut context).is_pending());
    bencher.bench_local(|| black_box(future.as_mut()).poll(&mut context));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a current-thread runtime needs no driver")
}

const TASKS: usize = 1000;

/// Spawns, runs and joins a thousand tasks.
#[divan::bench]
fn spawn_1000_bare(bencher: Bencher) {
    let runtime = runtime();
    bencher.bench_local(|| {
        runtime.block_on(async {
            for _ in 0..TASKS {
                tokio::spawn(async { black_box(1) });
            }
            tokio::task::yield_now().await;
        });
    });
}

/// Spawns, runs and joins a thousand tracked tasks.
#[divan::bench]
fn spawn_1000_tracked(bencher: Bencher) {
    let runtime = runtime();
    bencher.bench_local(|| {
        runtime.block_on(async {
            for _ in 0..TASKS {
                let future = async { black_box(1) };
                tokio::spawn(Tracked::new(future, None, Kind::Task, Location::caller()));
            }
            tokio::task::yield_now().await;
        });
    });
}
