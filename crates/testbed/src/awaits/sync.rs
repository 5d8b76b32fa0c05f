//! Locks and other synchronization.

use std::future::{pending, ready};

use tokio::sync::{Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore};

use super::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("mutex", locking());
    tasks.spawn("rwlock-read", reading());
    tasks.spawn("rwlock-write", writing());
    tasks.spawn("semaphore", acquiring());
    tasks.spawn("notify", waiting_for_a_notice());
    tasks.spawn("barrier", meeting());
    tasks.spawn("once-cell", initializing());
}

async fn locking() {
    let mutex = Mutex::new(());
    let _held = mutex.lock().await;
    drop(mutex.lock().await); // AWAIT mutex
}

async fn reading() {
    let lock = RwLock::new(());
    let _held = lock.write().await;
    drop(lock.read().await); // AWAIT rwlock-read
}

async fn writing() {
    let lock = RwLock::new(());
    let _held = lock.read().await;
    drop(lock.write().await); // AWAIT rwlock-write
}

async fn acquiring() {
    let semaphore = Semaphore::new(0);
    drop(semaphore.acquire().await); // AWAIT semaphore
}

async fn waiting_for_a_notice() {
    Notify::new().notified().await; // AWAIT notify
}

async fn meeting() {
    Barrier::new(2).wait().await; // AWAIT barrier
}

async fn initializing() {
    let cell = OnceCell::new();
    let first = cell.get_or_init(pending::<()>);
    tokio::join!(first, initializing_later(&cell)); // MAYBE once-cell
}

async fn initializing_later(cell: &OnceCell<()>) {
    cell.get_or_init(|| ready(())).await; // AWAIT once-cell
}
