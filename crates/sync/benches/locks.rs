//! The cost of the ledger: each figure beside that of tokio's own lock.
//!
//! `cargo bench -p rtops-sync`
//!
//! An iteration takes and releases a lock [`TIMES`] times, so a millisecond more per iteration is a
//! microsecond more per round.

use std::{future::Future, hint::black_box, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use tokio::runtime::{Builder, Runtime};

fn main() {
    divan::main();
}

/// The rounds in an iteration.
const TIMES: usize = 1000;
/// The number of tasks that want the same lock, on two workers.
const TASKS: usize = 8;

fn alone() -> Runtime {
    Builder::new_current_thread()
        .build()
        .expect("a current-thread runtime needs no driver")
}

fn workers() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads can be started")
}

/// Runs the rounds in one task.
fn rounds<F: Future>(bencher: Bencher, round: impl Fn() -> F) {
    let runtime = alone();
    bencher.counter(ItemsCount::new(TIMES)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..TIMES {
                // Without a budget: the task would use up its budget here, as no new
                // poll restores it.
                tokio::task::unconstrained(async { black_box(round().await) }).await;
            }
        });
    });
}

/// Spreads the rounds over tasks that contend for the lock.
fn meetings<F>(bencher: Bencher, round: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let runtime = workers();
    bencher.counter(ItemsCount::new(TIMES)).bench_local(|| {
        runtime.block_on(async {
            let tasks = (0..TASKS).map(|_| {
                let round = round.clone();
                tokio::spawn(async move {
                    for _ in 0..TIMES / TASKS {
                        round().await;
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("it does not panic");
            }
        });
    });
}

macro_rules! benches {
    ($name:ident, $sync:ident) => {
        mod $name {
            use super::*;

            #[divan::bench]
            fn mutex_lock(bencher: Bencher) {
                let mutex = $sync::Mutex::new(0);
                rounds(bencher, || async { *mutex.lock().await += 1 });
            }

            #[divan::bench]
            fn mutex_try_lock(bencher: Bencher) {
                let mutex = $sync::Mutex::new(0);
                rounds(bencher, || async { drop(black_box(mutex.try_lock())) });
            }

            #[divan::bench]
            fn rwlock_read(bencher: Bencher) {
                let lock = $sync::RwLock::new(0);
                rounds(bencher, || async { *lock.read().await });
            }

            #[divan::bench]
            fn rwlock_write(bencher: Bencher) {
                let lock = $sync::RwLock::new(0);
                rounds(bencher, || async { *lock.write().await += 1 });
            }

            #[divan::bench]
            fn semaphore_acquire(bencher: Bencher) {
                let semaphore = $sync::Semaphore::new(3);
                rounds(bencher, || async { drop(semaphore.acquire().await) });
            }

            #[divan::bench]
            fn mutex_met_by_8_tasks(bencher: Bencher) {
                let mutex = Arc::new($sync::Mutex::new(0));
                meetings(bencher, move || {
                    let mutex = Arc::clone(&mutex);
                    async move {
                        let mut guard = mutex.lock().await;
                        *guard += 1;
                        tokio::task::yield_now().await;
                    }
                });
            }

            #[divan::bench]
            fn semaphore_met_by_8_tasks(bencher: Bencher) {
                let semaphore = Arc::new($sync::Semaphore::new(3));
                meetings(bencher, move || {
                    let semaphore = Arc::clone(&semaphore);
                    async move {
                        let _permit = semaphore.acquire().await;
                        tokio::task::yield_now().await;
                    }
                });
            }
        }
    };
}

use tokio::sync as tokios;

benches!(of_rtops, rtops_sync);
benches!(of_tokio, tokios);
