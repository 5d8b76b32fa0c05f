//! `main` holds a guard and waits for a task that wants the same lock.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::variant::{Variant, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(serve(variant));
}

async fn serve(variant: Variant) {
    let orders = Arc::new(Mutex::new(0_u64));
    let mut guard = orders.lock().await;
    *guard += 1;
    let flushed = variant.spawn(flush(orders.clone()));
    let _done = flushed.await; // STUCK serve: it holds the guard that the task waits for
    drop(guard);
}

async fn flush(orders: Arc<Mutex<u64>>) {
    *orders.lock().await = 0; // STUCK flush: main has the lock, and waits for this task
}
