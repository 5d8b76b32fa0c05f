//! Tasks and a thread that wait for what others hold, which no agent records: locks, permits and
//! channels of tokio and of the standard library.

use std::{future::Future, sync, sync::Arc, thread};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_agent::Track;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, Notify, Semaphore, mpsc},
    task::LocalSet,
    time::sleep,
};

use crate::{
    FOREVER, Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = workers(2)?;
    mutex(&runtime);
    permits(&runtime);
    ring(&runtime);
    slot(&runtime);
    alone(&runtime);
    lock_of_threads()?;
    control.serve(|| 0)
}

/// Spawns a future and returns once it waits.
fn waits(runtime: &Runtime, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    let (pending, settlement) = settlement();
    runtime.spawn(settled(future, pending).tracked(name));
    settlement.wait();
}

fn mutex(runtime: &Runtime) {
    let lock = Arc::new(Mutex::new(0));
    waits(runtime, "former", had(lock.clone()));
    waits(runtime, "holder", holds(lock.clone()));
    for name in ["first", "second", "third"] {
        waits(runtime, name, wants(lock.clone()));
    }
}

/// The dropped handles stay in its memory.
async fn had(lock: Arc<Mutex<u64>>) {
    let again = lock.clone();
    *again.lock().await += 1;
    drop((lock, again));
    sleep(FOREVER).await;
}

async fn holds(lock: Arc<Mutex<u64>>) {
    let guard = lock.lock().await;
    sleep(FOREVER).await;
    drop(guard);
}

async fn wants(lock: Arc<Mutex<u64>>) {
    *lock.lock().await += 1;
}

/// Children that are not polled hold all permits while their task waits for one more.
fn permits(runtime: &Runtime) {
    let permits = Arc::new(Semaphore::new(2));
    waits(runtime, "pool", waits_for_its_own(permits.clone()));
    waits(runtime, "victim", takes(permits));
}

async fn waits_for_its_own(permits: Arc<Semaphore>) {
    let mut children: FuturesUnordered<_> = (0..2).map(|_| takes(permits.clone())).collect();
    let polled = futures::poll!(children.next());
    let permit = permits.acquire().await;
    drop((polled, permit));
}

async fn takes(permits: Arc<Semaphore>) {
    let permit = permits.acquire().await;
    sleep(FOREVER).await;
    drop(permit);
}

/// Two full channels: the receiver of each sends to the other.
fn ring(runtime: &Runtime) {
    let (to_left, left) = mpsc::channel(1);
    let (to_right, right) = mpsc::channel(1);
    waits(runtime, "left", sends(to_right, left));
    waits(runtime, "right", sends(to_left, right));
}

async fn sends(to: mpsc::Sender<u64>, mut from: mpsc::Receiver<u64>) {
    loop {
        if to.send(0).await.is_err() {
            break;
        }
    }
    from.recv().await;
}

fn slot(runtime: &Runtime) {
    let (sender, mut receiver) = mpsc::channel::<u64>(1);
    waits(runtime, "sender", async move {
        sleep(FOREVER).await;
        sender.send(0).await.ok();
    });
    waits(runtime, "receiver", async move {
        receiver.recv().await;
    });
}

/// Waits for a notification that nobody else can send.
fn alone(runtime: &Runtime) {
    let notify = Arc::new(Notify::new());
    waits(runtime, "alone", async move { notify.notified().await });
}

/// A guard that is held across an await, and a thread that waits for it.
fn lock_of_threads() -> Result<(), String> {
    let lock = Arc::new(sync::Mutex::new(0));
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let (pending, settlement) = settlement();
    let kept = lock.clone();
    let keep = move || {
        let local = LocalSet::new();
        local.spawn_local(settled(keeps(kept), pending).tracked("keeper"));
        runtime.block_on(local);
    };
    let lock = move || {
        if let Ok(mut value) = lock.lock() {
            *value += 1;
        }
    };
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map_err(|error| error.to_string())
    };
    spawn("keeping", Box::new(keep))?;
    settlement.wait();
    spawn("locking", Box::new(lock))?;
    Ok(())
}

async fn keeps(lock: Arc<sync::Mutex<u64>>) {
    let guard = lock.lock();
    sleep(FOREVER).await;
    drop(guard);
}
