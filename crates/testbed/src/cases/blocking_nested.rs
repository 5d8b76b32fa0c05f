//! Closures on the blocking pool wait for more closures of the same pool, whose threads they occupy
//! (graph-node#2354, delta-kernel-rs#3202).

use std::{thread, time::Duration};

use tokio::{fs, runtime::Handle, task::spawn_blocking, time::sleep};

use crate::variant::{Variant, keep, runtime_with_pool};

const POOL: usize = 4;
const SCANS: u32 = 6;
const CONFIGS: usize = 3;

pub(crate) fn run(variant: Variant) {
    runtime_with_pool(2, POOL).block_on(async {
        for number in 0..SCANS {
            variant.spawn(scan(number));
        }
        for _ in 0..CONFIGS {
            variant.spawn(config());
        }
        keep().await;
    });
}

fn read_vector(number: u32) -> u32 {
    thread::sleep(Duration::from_millis(50));
    Handle::current().block_on(async move {
        spawn_blocking(move || number * 2).await.unwrap_or_default() // STUCK read_vector: in all threads of the pool
    })
}

async fn scan(number: u32) -> u32 {
    let read = spawn_blocking(move || read_vector(number));
    read.await.unwrap_or_default() // STUCK scan: a victim
}

async fn config() -> String {
    sleep(Duration::from_millis(400)).await;
    let read = fs::read_to_string("/proc/version");
    read.await.unwrap_or_default() // STUCK config: queued, a victim
}
