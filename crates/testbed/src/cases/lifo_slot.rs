//! A woken task sits in the LIFO slot of a worker whose task does not yield, while another worker
//! has nothing to do (tokio#4323, #4941).

use std::{sync::Arc, thread, time::Duration};

use tokio::{sync::Notify, time::sleep};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let progress = Arc::new(Notify::new());
        variant.spawn(reader(progress.clone()));
        variant.spawn(writer(progress));
        keep().await;
    });
}

async fn reader(progress: Arc<Notify>) {
    loop {
        progress.notified().await; // STUCK reader: woken, and never polled
    }
}

async fn writer(progress: Arc<Notify>) {
    sleep(Duration::from_millis(200)).await;
    progress.notify_one();
    loop {
        thread::sleep(Duration::from_millis(5)); // STUCK writer: the cause
    }
}
