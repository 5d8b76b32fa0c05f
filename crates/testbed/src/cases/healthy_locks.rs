//! Locks that are held for long, and by somebody who goes on: whoever waits gets them in the end.

use std::sync::Arc;

use rtops_testbed::FOREVER;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Mutex, Notify, RwLock, Semaphore},
    time::sleep,
};

use crate::variant::{Variant, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(serve(variant));
}

async fn serve(variant: Variant) {
    let prices = Arc::new(RwLock::new(0_u64));
    let permits = Arc::new(Semaphore::new(4));
    let ready = Arc::new(Notify::new());
    variant.spawn(read(prices.clone(), ready.clone()));
    ready.notified().await;
    variant.spawn(take(permits.clone(), 2, ready.clone()));
    ready.notified().await;
    // A part of what these want is set aside for the first of them.
    for _ in 0..2 {
        variant.spawn(write(prices.clone()));
        variant.spawn(take(permits.clone(), 3, ready.clone()));
    }
    let orders = Arc::new(Mutex::new(0_u64));
    let guard = orders.lock().await;
    let counted = variant.spawn(count(orders.clone()));
    let mut hangup = signal(SignalKind::hangup()).expect("a handler is installed");
    tokio::select! {
        _ = counted => {}
        _ = hangup.recv() => {}
    }
    drop(guard);
}

async fn read(prices: Arc<RwLock<u64>>, ready: Arc<Notify>) {
    let prices = prices.read().await;
    ready.notify_one();
    sleep(FOREVER).await;
    drop(prices);
}

async fn write(prices: Arc<RwLock<u64>>) {
    *prices.write().await += 1;
}

async fn take(permits: Arc<Semaphore>, count: u32, ready: Arc<Notify>) {
    let permit = permits.acquire_many(count).await;
    ready.notify_one();
    sleep(FOREVER).await;
    drop(permit);
}

async fn count(orders: Arc<Mutex<u64>>) {
    *orders.lock().await += 1;
}
