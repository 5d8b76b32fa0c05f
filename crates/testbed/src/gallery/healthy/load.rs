//! Services under load: much work arrives, and all of it gets done.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_agent::Track;
use tokio::{
    sync::watch,
    task::yield_now,
    time::{interval, sleep},
};

use crate::{
    locks::{Mutex, Semaphore},
    traffic::{NO_END, requests},
};

/// A batch grows to a hundred tasks within a second. Then all are released, and the next begins.
pub(crate) fn batches() {
    let collect = async {
        let mut due = interval(Duration::from_millis(8));
        loop {
            let (full, flushed) = watch::channel(false);
            for _row in 0..100 {
                due.tick().await;
                let mut flushed = flushed.clone();
                rtops_agent::spawn(async move {
                    flushed.wait_for(|flushed| *flushed).await.ok();
                });
            }
            full.send_replace(true);
        }
    };
    tokio::spawn(collect.tracked("collect"));
}

/// Some hundred short tasks a second.
pub(crate) fn churn() {
    let accept = async {
        let mut due = interval(Duration::from_millis(5));
        loop {
            due.tick().await;
            rtops_agent::spawn(sleep(Duration::from_millis(3)));
        }
    };
    tokio::spawn(accept.tracked("accept"));
}

/// A mutex that eight tasks want all the time. They get it in turn.
pub(crate) fn contended_mutex() {
    let counter = Arc::new(Mutex::new(0_u64));
    for writer in 0..8 {
        let counter = Arc::clone(&counter);
        let write = async move {
            loop {
                let mut counter = counter.lock().await;
                *counter += 1;
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::spawn(write.tracked(format!("writer {writer}")));
    }
}

/// A limiter whose permits are all taken most of the time.
pub(crate) fn limiter() {
    let limit = Arc::new(Semaphore::new(2));
    requests(NO_END, move |_| {
        let limit = Arc::clone(&limit);
        rtops_agent::spawn(async move {
            let _permit = limit.acquire().await;
            sleep(Duration::from_millis(70)).await;
        });
    });
}

/// A task that computes and yields every ten milliseconds.
pub(crate) fn computing() {
    let compute = async {
        let mut sum = 1_u64;
        loop {
            let turn = Instant::now();
            while turn.elapsed() < Duration::from_millis(10) {
                sum = black_box(sum.wrapping_mul(31));
            }
            yield_now().await;
        }
    };
    tokio::spawn(compute.tracked("compute"));
}

/// A closure on the blocking pool that takes three seconds, again and again.
pub(crate) fn blocking() {
    let compress = async {
        loop {
            let block = rtops_agent::spawn_blocking(|| {
                std::thread::sleep(Duration::from_secs(3));
            });
            block.await.ok();
        }
    };
    tokio::spawn(compress.tracked("compress"));
}
