//! Four workers: one sleeps and one computes inside a poll. 120 tasks wait, and one more ticks,
//! which shows that the other two workers keep running.

use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rtops_agent::Track;
use tokio::{sync::Notify, time::interval};

use crate::{
    FOREVER, Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settled, settlement},
};

const WAITING: usize = 120;
static TICKS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = workers(4)?;
    let (pending, all_wait) = settlement();
    for _ in 0..WAITING {
        runtime.spawn(settled(waits().tracked("waiting"), pending.clone()));
    }
    drop(pending);
    all_wait.wait();

    let (pending, both_block) = settlement();
    let sleeper = pending.clone();
    runtime.spawn(async { sleeps_in_poll(sleeper) }.tracked("sleeper"));
    runtime.spawn(async { spins_in_poll(pending) }.tracked("spinner"));
    both_block.wait();
    runtime.spawn(ticks());
    control.serve(|| TICKS.load(Relaxed))
}

async fn waits() {
    Notify::new().notified().await; // AWAIT waiting
}

async fn ticks() {
    let mut interval = interval(Duration::from_millis(1));
    loop {
        interval.tick().await;
        TICKS.fetch_add(1, Relaxed);
    }
}

#[inline(never)]
fn sleeps_in_poll(pending: Pending) {
    drop(pending);
    thread::sleep(FOREVER);
    // Without this, the sleep could be a tail call, or the function merged with an equal one.
    black_box("slept in a worker");
}

#[inline(never)]
fn spins_in_poll(pending: Pending) {
    drop(pending);
    while black_box(true) {
        spin_loop();
    }
}
