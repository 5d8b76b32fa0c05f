//! Tracked tasks that count their polls.

use std::{
    future::{self, Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rtops_agent::Track;
use tokio::time::sleep;

use crate::{
    FOREVER, Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

const TASKS: usize = 20;

static POLLS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    let runtime = workers(1)?;
    for _ in 0..TASKS {
        let waits = async { counted(sleep(FOREVER)).tracked("inside").await };
        runtime.spawn(settled(waits.tracked("waits"), pending.clone()));
        let never = counted(future::pending()).tracked("never");
        runtime.spawn(settled(never, pending.clone()));
    }
    drop(pending);
    settlement.wait();
    control.serve(|| POLLS.load(Relaxed))
}

async fn counted(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    poll_fn(|context| {
        POLLS.fetch_add(1, Relaxed);
        future.as_mut().poll(context)
    })
    .await;
}
