//! Two tasks take turns at a thread-blocking lock, and each works for a while under it: one waits
//! while the other runs on another worker, and both make progress.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::time::sleep;

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(4).block_on(async {
        let total = Arc::new(Mutex::new(0));
        variant.spawn(update(Arc::clone(&total)));
        variant.spawn(update(total));
        keep().await;
    });
}

async fn update(total: Arc<Mutex<u32>>) {
    loop {
        if let Ok(mut total) = total.lock() {
            *total += 1;
            thread::sleep(Duration::from_millis(400));
        }
        sleep(Duration::from_millis(1)).await;
    }
}
