//! Tasks and a thread that wait for locks which know their holders.

use std::{
    convert::Infallible,
    future::{Future, pending},
    mem,
    sync::Arc,
    thread,
};

use rtops_agent::{
    JoinSet, Track,
    sync::{Mutex, RwLock, Semaphore},
};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    FOREVER, Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settled, settlement},
};

/// The number of tasks that wait for the one holder.
const READERS: usize = 12;

struct Cache;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = workers(2)?;
    let cache = Arc::new(Mutex::new(Cache));
    all_wait(|pending| {
        spawn(&runtime, "flush", flushes(cache.clone()), pending);
    });
    all_wait(|pending| {
        for _ in 0..READERS {
            spawn(&runtime, "reader", reads(cache.clone()), pending);
        }
        spawn(&runtime, "twice", locks_twice(), pending);
        spawn(&runtime, "joiner", joins(), pending);
        spawn(
            &runtime,
            "no-permit",
            acquires(Arc::new(Semaphore::new(0))),
            pending,
        );
    });
    read_and_write(&runtime);
    permits(&runtime);
    forgotten(&runtime);
    outside(&runtime)?;
    control.serve(|| 0)
}

/// Waits until everything that is spawned in the closure waits.
fn all_wait(spawn: impl FnOnce(&Pending)) {
    let (pending, all) = settlement();
    spawn(&pending);
    drop(pending);
    all.wait();
}

fn spawn<F>(runtime: &Runtime, name: &'static str, future: F, pending: &Pending)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    runtime.spawn(settled(future.tracked(name), pending.clone()));
}

async fn flushes(cache: Arc<Mutex<Cache>>) -> Infallible {
    let _guard = cache.lock().await; // AWAIT flush-takes
    sleep(FOREVER).await;
    pending().await
}

async fn reads(cache: Arc<Mutex<Cache>>) -> Infallible {
    let _guard = cache.lock().await; // AWAIT reader
    pending().await
}

async fn locks_twice() -> Infallible {
    let mutex = Mutex::new([0_u8; 2]);
    let _once = mutex.lock().await; // AWAIT twice-takes
    let _again = mutex.lock().await; // AWAIT twice
    pending().await
}

async fn joins() -> Infallible {
    let mut set = JoinSet::new();
    for _ in 0..5 {
        set.spawn(pending::<()>());
    }
    set.spawn(async {});
    while set.join_next().await.is_some() {} // AWAIT joiner
    pending().await
}

async fn acquires(semaphore: Arc<Semaphore>) -> Infallible {
    let _permit = semaphore.acquire().await; // AWAIT acquirer no-permit
    pending().await
}

fn read_and_write(runtime: &Runtime) {
    let lock = Arc::new(RwLock::new(0_u32));
    all_wait(|pending| {
        for _ in 0..2 {
            spawn(runtime, "rw-reads", keeps_reading(lock.clone()), pending);
        }
    });
    all_wait(|pending| {
        spawn(runtime, "rw-writer", writes(lock.clone()), pending);
    });
    all_wait(|pending| {
        spawn(runtime, "rw-late", keeps_reading(lock), pending);
    });
}

async fn keeps_reading(lock: Arc<RwLock<u32>>) -> Infallible {
    let _guard = lock.read_owned().await; // AWAIT rw-late rw-reads-take
    pending().await
}

async fn writes(lock: Arc<RwLock<u32>>) -> Infallible {
    let _guard = lock.write().await; // AWAIT rw-writer
    pending().await
}

fn permits(runtime: &Runtime) {
    let semaphore = Arc::new(Semaphore::new(3));
    all_wait(|pending| {
        spawn(runtime, "permits", has_permits(semaphore.clone()), pending);
    });
    all_wait(|pending| {
        spawn(runtime, "acquirer", acquires(semaphore), pending);
    });
}

async fn has_permits(semaphore: Arc<Semaphore>) -> Infallible {
    let _permits = semaphore.acquire_many(3).await; // AWAIT permits-take
    pending().await
}

/// A task ends and leaves its guard behind.
fn forgotten(runtime: &Runtime) {
    let mutex = Arc::new(Mutex::new(String::new()));
    let other = mutex.clone();
    let forgets = async move {
        mem::forget(other.lock_owned().await); // AWAIT forgetful-takes
    };
    runtime
        .block_on(runtime.spawn(forgets.tracked("forgetful")))
        .ok();
    all_wait(|pending| {
        spawn(runtime, "for-ever", waits_for_ever(mutex), pending);
    });
}

async fn waits_for_ever(mutex: Arc<Mutex<String>>) -> Infallible {
    let _guard = mutex.lock().await; // AWAIT for-ever
    pending().await
}

/// This thread holds a lock outside any task. A task and a thread wait for it.
fn outside(runtime: &Runtime) -> Result<(), String> {
    static MUTEX: Mutex<()> = Mutex::const_new(());
    mem::forget(MUTEX.blocking_lock()); // AWAIT outside-takes
    all_wait(|pending| {
        spawn(runtime, "outsider", waits_for_a_thread(&MUTEX), pending);
    });
    let blocked = thread::Builder::new().name("blocked-thread".to_owned());
    blocked
        .spawn(|| drop(MUTEX.blocking_lock()))
        .map_err(|error| error.to_string())?;
    Ok(())
}

async fn waits_for_a_thread(mutex: &Mutex<()>) -> Infallible {
    let _guard = mutex.lock().await; // AWAIT outsider
    pending().await
}
