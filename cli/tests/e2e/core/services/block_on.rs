//! Threads inside `block_on`, one for each way to get there, without an agent.

use std::{
    future::{pending, Future},
    thread,
    time::Duration,
};

use futures::{
    executor::{self, LocalPool},
    task::LocalSpawnExt,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{oneshot, Notify},
    task::LocalSet,
    time::sleep,
};

const LONG: Duration = Duration::from_secs(3600);

async fn by_handle() {
    sleep(LONG).await // AWAIT by_handle
}

async fn on_one_thread() {
    sleep(LONG).await // AWAIT on_one_thread
}

async fn in_local_set() {
    sleep(LONG).await // AWAIT in_local_set
}

async fn beside_in_local_set() {
    sleep(LONG).await // AWAIT beside_in_local_set
}

async fn by_futures() {
    let (answer, answered) = oneshot::channel::<u8>();
    drop(answered.await); // AWAIT by_futures
    drop(answer);
}

/// The list that its waker is in is on the stack of the thread.
async fn on_its_stack() {
    Notify::new().notified().await // AWAIT on_its_stack
}

async fn in_local_pool() {
    let (answer, answered) = oneshot::channel::<u8>();
    drop(answered.await); // AWAIT in_local_pool
    drop(answer);
}

async fn beside_in_local_pool() {
    let (answer, answered) = oneshot::channel::<u8>();
    drop(answered.await); // AWAIT beside_in_local_pool
    drop(answer);
}

async fn in_a_blocking_task() {
    sleep(LONG).await // AWAIT in_a_blocking_task
}

async fn main_itself() {
    sleep(LONG).await // AWAIT main_itself
}

/// Keeps no waker, so nothing shows where it waits.
async fn nothing() {
    pending::<()>().await
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .unwrap();
}

fn current() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn run(future: impl Future<Output = ()>) {
    current().block_on(future)
}

fn main() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    spawn("handle", move || handle.block_on(by_handle()));
    spawn("current", || run(on_one_thread()));
    spawn("current-nothing", || run(nothing()));
    spawn("local-set", || {
        let set = LocalSet::new();
        set.spawn_local(beside_in_local_set());
        set.block_on(&current(), async { in_local_set().await })
    });
    spawn("futures", || executor::block_on(by_futures()));
    spawn("futures-stack", || executor::block_on(on_its_stack()));
    spawn("futures-nothing", || executor::block_on(nothing()));
    spawn("local-pool", || {
        let mut pool = LocalPool::new();
        pool.spawner().spawn_local(beside_in_local_pool()).unwrap();
        pool.run_until(in_local_pool())
    });
    let handle = runtime.handle().clone();
    runtime.spawn_blocking(move || handle.block_on(in_a_blocking_task()));
    println!("ready");
    runtime.block_on(main_itself())
}
