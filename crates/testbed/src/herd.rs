//! Many tasks, 100,000 by default, that wait in three ways, tracked or plain; on request, one more
//! task records how late it is woken.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rtops_agent::Track;
use tokio::{
    runtime::Runtime,
    sync::{Notify, oneshot},
    time::{sleep, sleep_until},
};

use crate::{
    FOREVER, Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settled, settlement},
};

/// How often the ticker wants to be woken.
const TICK: Duration = Duration::from_millis(1);

pub(crate) fn run(control: Control, count: Option<&str>) -> Result<Never, String> {
    let _runtime = herd(count, spawn_tracked)?;
    control.serve(|| 0)
}

/// Like `run`, without a wrapper.
pub(crate) fn run_plain(control: Control, count: Option<&str>) -> Result<Never, String> {
    let _runtime = herd(count, spawn_plain)?;
    control.serve(|| 0)
}

/// Tracked tasks whose names differ by a number: `shard 0`, `shard 1`.
pub(crate) fn run_numbered(control: Control, count: Option<&str>) -> Result<Never, String> {
    let _runtime = herd(count, |runtime, number, pending| {
        let shard = waits().tracked(format!("shard {number}"));
        drop(runtime.spawn(settled(shard, pending)));
    })?;
    control.serve(|| 0)
}

/// A thousand of the tasks besides written memory: a GiB, or as many MiB as given.
pub(crate) fn run_big(control: Control, size: Option<&str>) -> Result<Never, String> {
    let size: u64 = size
        .unwrap_or("1024")
        .parse()
        .map_err(|_| "the size of the memory is a number of MiB".to_owned())?;
    let _runtime = herd(Some("1000"), spawn_plain)?;
    let memory: Vec<u64> = (0..(size << 20) / 8).collect();
    std::hint::black_box(&memory);
    control.serve(|| 0)
}

/// `check` answers with the 99.9th percentile of the lateness of all ticks
/// since the last `check`, in microseconds.
pub(crate) fn run_ticking(control: Control, count: Option<&str>) -> Result<Never, String> {
    let runtime = herd(count, spawn_tracked)?;
    let lateness = Arc::new(Lateness::default());
    runtime.spawn(tick(Arc::clone(&lateness)));
    control.serve(move || lateness.take())
}

fn herd(count: Option<&str>, spawn: fn(&Runtime, usize, Pending)) -> Result<Runtime, String> {
    let count: usize = count
        .unwrap_or("100000")
        .parse()
        .map_err(|_| "the size of the herd is a number".to_owned())?;
    let runtime = workers(2)?;
    let (pending, settlement) = settlement();
    for number in 0..count {
        spawn(&runtime, number, pending.clone());
    }
    drop(pending);
    settlement.wait();
    Ok(runtime)
}

fn spawn_tracked(runtime: &Runtime, number: usize, pending: Pending) {
    match number % 3 {
        0 => drop(runtime.spawn(settled(sleeps().tracked("sleeps"), pending))),
        1 => drop(runtime.spawn(settled(receives().tracked("receives"), pending))),
        _ => drop(runtime.spawn(settled(waits().tracked("waits"), pending))),
    }
}

fn spawn_plain(runtime: &Runtime, number: usize, pending: Pending) {
    match number % 3 {
        0 => drop(runtime.spawn(settled(sleeps(), pending))),
        1 => drop(runtime.spawn(settled(receives(), pending))),
        _ => drop(runtime.spawn(settled(waits(), pending))),
    }
}

async fn sleeps() {
    sleep(FOREVER).await; // AWAIT sleeps
}

async fn receives() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT receives
}

async fn waits() {
    Notify::new().notified().await; // AWAIT waits
}

async fn tick(lateness: Arc<Lateness>) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due.into()).await;
        lateness.add(due.elapsed());
    }
}

/// How late the ticks since the last look were.
#[derive(Default)]
struct Lateness(Mutex<Vec<Duration>>);

impl Lateness {
    fn add(&self, late: Duration) {
        self.lock().push(late);
    }

    fn take(&self) -> u64 {
        let mut all = std::mem::take(&mut *self.lock());
        all.sort_unstable();
        let rank = all.len() - all.len().div_ceil(1000).min(all.len());
        let late = all.get(rank).copied().unwrap_or_default();
        late.as_micros().try_into().unwrap_or(u64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
