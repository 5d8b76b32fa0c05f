//! Timers.

use std::future::pending;

use tokio::time::{Instant, interval_at, sleep, timeout};

use super::Spawner;
use crate::FOREVER;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("sleep", sleeping());
    tasks.spawn("timeout", timing_out());
    tasks.spawn("interval", ticking());
}

async fn sleeping() {
    sleep(FOREVER).await; // AWAIT sleep
}

async fn timing_out() {
    timeout(FOREVER, pending::<()>()).await.ok(); // AWAIT timeout
}

async fn ticking() {
    let mut interval = interval_at(Instant::now() + FOREVER, FOREVER);
    interval.tick().await; // AWAIT interval
}
