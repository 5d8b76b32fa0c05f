//! Channels of tokio and of other crates.

use futures::StreamExt;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("mpsc-recv", receiving());
    tasks.spawn("mpsc-send", sending());
    tasks.spawn("unbounded-recv", receiving_unbounded());
    tasks.spawn("oneshot", receiving_once());
    tasks.spawn("broadcast", receiving_broadcast());
    tasks.spawn("watch", watching());
    tasks.spawn("futures-mpsc", receiving_with_futures());
    tasks.spawn("futures-oneshot", receiving_once_with_futures());
    #[cfg(feature = "smol")]
    tasks.spawn("async-channel", receiving_with_smol());
}

async fn receiving() {
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    receiver.recv().await; // AWAIT mpsc-recv
}

async fn sending() {
    let (sender, _receiver) = mpsc::channel(1);
    sender.try_send(()).ok();
    sender.send(()).await.ok(); // AWAIT mpsc-send
}

async fn receiving_unbounded() {
    let (_sender, mut receiver) = mpsc::unbounded_channel::<()>();
    receiver.recv().await; // AWAIT unbounded-recv
}

async fn receiving_once() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT oneshot
}

async fn receiving_broadcast() {
    let (_sender, mut receiver) = broadcast::channel::<()>(1);
    receiver.recv().await.ok(); // AWAIT broadcast
}

async fn watching() {
    let (_sender, mut receiver) = watch::channel(());
    receiver.changed().await.ok(); // AWAIT watch
}

async fn receiving_with_futures() {
    let (_sender, mut receiver) = futures::channel::mpsc::channel::<()>(1);
    receiver.next().await; // AWAIT futures-mpsc
}

async fn receiving_once_with_futures() {
    let (_sender, receiver) = futures::channel::oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT futures-oneshot
}

#[cfg(feature = "smol")]
async fn receiving_with_smol() {
    let (_sender, receiver) = smol::channel::bounded::<()>(1);
    receiver.recv().await.ok(); // AWAIT async-channel
}
