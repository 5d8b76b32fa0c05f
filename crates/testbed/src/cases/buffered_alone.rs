//! A permit went to a future inside of `buffer_unordered`, which is not polled while the body of the loop waits for one.
//! `main` has the semaphore, too, and no permit.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::{sync::Semaphore, time::sleep};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        let disks = Arc::new(Semaphore::new(1));
        variant.spawn(pack(disks.clone()));
        keep().await;
        drop(disks);
    });
}

async fn pack(disks: Arc<Semaphore>) {
    let mut parts = stream::iter(0..10)
        .map(|number| read(number, disks.clone()))
        .buffer_unordered(3);
    while parts.next().await.is_some() {
        let disk = disks.acquire().await; // STUCK pack: the next part of its own stream has it
        drop(disk);
    }
}

async fn read(number: u64, disks: Arc<Semaphore>) -> u64 {
    let disk = disks.acquire().await;
    sleep(Duration::from_millis(10)).await;
    drop(disk);
    number
}
