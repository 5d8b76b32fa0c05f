//! A runtime on one thread, which one task blocks while three others wait, and two are woken.

use std::{hint::black_box, sync::Arc, thread};

use rtops_agent::Track;
use tokio::{
    runtime::{Builder, Handle},
    sync::Notify,
};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{Pending, settled, settlement},
};

const WAITING: usize = 3;
const WOKEN: usize = 2;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let (pending, all_wait) = settlement();
    for _ in 0..WAITING {
        runtime.spawn(settled(waits().tracked("waiting"), pending.clone()));
    }
    let notify = Arc::new(Notify::new());
    for _ in 0..WOKEN {
        let woken = is_woken(Arc::clone(&notify)).tracked("woken");
        runtime.spawn(settled(woken, pending.clone()));
    }
    drop(pending);
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    all_wait.wait();
    block(&handle);
    notify.notify_waiters();
    control.serve(|| 0)
}

fn block(runtime: &Handle) {
    let (pending, blocked) = settlement();
    runtime.spawn(async { blocks_the_thread(pending) }.tracked("blocker"));
    blocked.wait();
}

#[inline(never)]
fn blocks_the_thread(pending: Pending) {
    drop(pending);
    thread::sleep(FOREVER);
    // Without this, the sleep could be a tail call, or the function merged with an equal one.
    black_box("slept in the only thread");
}

async fn is_woken(notify: Arc<Notify>) {
    notify.notified().await; // AWAIT woken
}

async fn waits() {
    Notify::new().notified().await;
}
