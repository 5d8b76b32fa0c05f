//! Awaits that register no waker, alone and next to others.

use std::{
    future::{pending, poll_fn},
    task::Poll,
};

use tokio::{
    sync::{OnceCell, oneshot},
    task::yield_now,
};

use crate::awaits::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("pending-alone", waiting_for_ever());
    tasks.spawn("pending-among-several", waiting_between());
    tasks.spawn("pending-deep", outer());
    tasks.spawn("poll-fn-lost", polling());
    tasks.spawn("pending-init", initializing());
    tasks.spawn("pending-branch", joining());
    tasks.spawn("pending-selected", selecting());
}

async fn waiting_for_ever() {
    pending::<()>().await; // AWAIT pending-alone
}

/// If a function has several awaits, the compiler may leave no instruction that tells them apart.
async fn waiting_between() {
    ready_at_once().await;
    pending::<()>().await; // AWAIT pending-among-several
    yield_now().await;
}

async fn ready_at_once() {
    let (sender, receiver) = oneshot::channel();
    sender.send(()).ok();
    receiver.await.ok();
}

async fn outer() {
    inner().await; // AWAIT pending-deep
}

async fn inner() {
    pending::<()>().await; // AWAIT pending-deep
}

async fn polling() {
    poll_fn(|_| Poll::<()>::Pending).await; // AWAIT poll-fn-lost
}

async fn initializing() {
    let cell = OnceCell::new();
    cell.get_or_init(never_made).await; // AWAIT pending-init
}

async fn never_made() {
    pending::<()>().await; // AWAIT pending-init
}

async fn joining() {
    tokio::join!(with_a_waker(), without_a_waker()); // MAYBE pending-branch
}

async fn with_a_waker() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT pending-branch
}

async fn without_a_waker() {
    pending::<()>().await; // AWAIT pending-branch
}

async fn selecting() {
    tokio::select! { // MAYBE pending-selected
        () = selected_with_a_waker() => {} // MAYBE pending-selected
        () = selected_without_a_waker() => {} // MAYBE pending-selected
    } // MAYBE pending-selected
}

async fn selected_with_a_waker() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT pending-selected
}

async fn selected_without_a_waker() {
    pending::<()>().await; // AWAIT pending-selected
}
