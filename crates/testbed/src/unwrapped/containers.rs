//! Containers that poll only those of their futures that were woken.

use futures::{
    StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use tokio::sync::oneshot;

use crate::awaits::Spawner;

/// More than a `join_all` polls one after another.
const MANY: u32 = 40;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("unordered-children", collecting());
    tasks.spawn("buffer-unordered", buffering());
    tasks.spawn("join-all-many", joining());
}

async fn collecting() {
    let mut children: FuturesUnordered<_> = (0..3).map(collected).collect();
    children.next().await; // AWAIT unordered-children
}

async fn collected(_: u32) {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT unordered-children
}

async fn buffering() {
    let mut results = stream::iter(0..3).map(buffered).buffer_unordered(2);
    results.next().await; // AWAIT buffer-unordered
}

async fn buffered(_: u32) {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT buffer-unordered
}

async fn joining() {
    join_all((0..MANY).map(joined)).await; // AWAIT join-all-many
}

async fn joined(_: u32) {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT join-all-many
}
