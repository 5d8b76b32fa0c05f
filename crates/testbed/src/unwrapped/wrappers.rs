//! Futures that wrap one or a few others, and futures that wait in an unusual way.

use std::future::poll_fn;

use futures::{
    future::{abortable, join_all},
    lock::Mutex,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::unconstrained,
};

use crate::awaits::Spawner;

tokio::task_local! {
    static LOCAL: u32;
}

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("abortable", aborting());
    tasks.spawn("unconstrained", without_constraint());
    tasks.spawn("task-local", with_a_local());
    tasks.spawn("poll-fn", polling());
    tasks.spawn("join-all", joining_all());
    tasks.spawn("futures-mutex", locking());
    tasks.spawn("second-await", awaiting_twice());
    tasks.spawn("rounds", looping());
}

async fn aborting() {
    let (future, _handle) = abortable(aborted());
    future.await.ok(); // AWAIT abortable
}

async fn aborted() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT abortable
}

async fn without_constraint() {
    unconstrained(unconstrained_inside()).await; // AWAIT unconstrained
}

async fn unconstrained_inside() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT unconstrained
}

async fn with_a_local() {
    LOCAL.scope(7, inside_the_scope()).await; // AWAIT task-local
}

async fn inside_the_scope() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT task-local
}

async fn polling() {
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    poll_fn(|context| receiver.poll_recv(context)).await; // AWAIT poll-fn
}

async fn joining_all() {
    join_all((0..3).map(one_of_three)).await; // AWAIT join-all
}

async fn one_of_three(_: u32) {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT join-all
}

async fn locking() {
    let mutex = Mutex::new(());
    let _held = mutex.lock().await;
    drop(mutex.lock().await); // AWAIT futures-mutex
}

/// Waits at an await that is not the first of its function.
async fn awaiting_twice() {
    let (sender, receiver) = oneshot::channel();
    sender.send(()).ok();
    receiver.await.ok();
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT second-await
}

/// Waits in a round that is not the first.
async fn looping() {
    let (sender, mut receiver) = mpsc::channel(4);
    for number in 0..3_u32 {
        sender.send(number).await.ok();
    }
    loop {
        let number = receiver.recv().await; // AWAIT rounds
        drop(number.map(|number| number.to_string()));
    }
}
