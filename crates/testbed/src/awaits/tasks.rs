//! Waits for other tasks.

use std::{future::pending, sync::mpsc};

use tokio::task::{JoinSet, spawn_blocking};

use super::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("join-handle", joining());
    tasks.spawn("join-set", joining_a_set());
    tasks.spawn("spawn-blocking", joining_a_thread());
}

async fn joining() {
    tokio::spawn(pending::<()>()).await.ok(); // AWAIT join-handle
}

async fn joining_a_set() {
    let mut set = JoinSet::new();
    set.spawn(pending::<()>());
    set.join_next().await; // AWAIT join-set
}

async fn joining_a_thread() {
    let (_sender, receiver) = mpsc::channel::<()>();
    spawn_blocking(move || receiver.recv()).await.ok(); // AWAIT spawn-blocking
}
