//! Waits for nothing at all: Go's nil channel and empty select.

use std::{
    future::{pending, poll_fn},
    task::Poll,
};

use rtops_agent::Track;
use tokio::sync::mpsc::{self, Receiver};

/// A feed without a source: the code that would set one was left out.
pub(crate) fn nil_channel() {
    tokio::spawn(follow(None).tracked("follow"));
}

async fn follow(mut prices: Option<Receiver<u64>>) {
    while next(&mut prices).await.is_some() {}
}

/// Like a branch of a `select!`, which a missing source must not complete.
async fn next(prices: &mut Option<Receiver<u64>>) -> Option<u64> {
    match prices {
        Some(prices) => prices.recv().await,
        None => pending().await, // LEAK nil-channel
    }
}

/// The last line keeps what the task owns alive, for a process that never ends.
pub(crate) fn empty_select() {
    tokio::spawn(hold_open().tracked("hold open"));
}

async fn hold_open() {
    let (_held, _listener) = mpsc::channel::<u64>(1);
    pending().await // LEAK empty-select
}

/// The first message of any shard, where there are no shards.
pub(crate) fn empty_merge() {
    tokio::spawn(merged(Vec::new()).tracked("merge"));
}

async fn merged(mut shards: Vec<Receiver<u64>>) -> Option<u64> {
    let first = poll_fn(|context| {
        for shard in &mut shards {
            if let Poll::Ready(message) = shard.poll_recv(context) {
                return Poll::Ready(message);
            }
        }
        Poll::Pending
    });
    first.await // LEAK empty-merge
}
