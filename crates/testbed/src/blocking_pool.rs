//! A blocking pool of two threads, with two running closures and three that wait for a thread.

use std::{
    hint::black_box,
    sync::mpsc::{Receiver, channel},
};

use tokio::runtime::Builder;

use crate::{
    Never,
    control::Control,
    settle::{Pending, settlement},
};

const RUNNING: usize = 2;
const QUEUED: usize = 3;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(RUNNING)
        .build()
        .map_err(|error| error.to_string())?;
    let (pending, settlement) = settlement();
    let mut open = Vec::new();
    for _ in 0..RUNNING {
        let (sender, receiver) = channel();
        open.push(sender);
        let pending = pending.clone();
        let closure = move || works_in_pool(&receiver, pending);
        drop(rtops_agent::spawn_blocking_on(closure, runtime.handle()));
    }
    drop(pending);
    settlement.wait();
    for _ in 0..QUEUED {
        drop(rtops_agent::spawn_blocking_on(|| (), runtime.handle()));
    }
    control.serve(|| 0)
}

#[inline(never)]
fn works_in_pool(receiver: &Receiver<()>, pending: Pending) {
    drop(pending);
    black_box(receiver.recv().is_ok());
}
