//! Tasks that come and go as fast as two workers can handle them, among eight that stay.

use std::{
    future::pending,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rtops_agent::Track;
use tokio::{sync::Notify, task::yield_now};

use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

const STEADY: usize = 8;
const CHURNING: usize = 4;
static FINISHED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = workers(2)?;
    let (pending, settlement) = settlement();
    for number in 0..STEADY {
        let steady = stays().tracked(format!("steady {number}"));
        runtime.spawn(settled(steady, pending.clone()));
    }
    drop(pending);
    settlement.wait();
    for _ in 0..CHURNING {
        runtime.spawn(churns());
    }
    control.serve(|| FINISHED.load(Relaxed))
}

async fn stays() {
    Notify::new().notified().await; // AWAIT steady
}

async fn churns() {
    loop {
        let dropped = rtops_agent::spawn(pending::<()>());
        rtops_agent::spawn(finishes()).await.ok();
        dropped.abort();
    }
}

async fn finishes() {
    yield_now().await;
    FINISHED.fetch_add(1, Relaxed);
}
