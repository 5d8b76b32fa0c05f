//! Waits until futures have been polled as far as they get.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::mpsc::{Receiver, Sender, channel},
};

/// Held by whatever has not reached its place yet.
#[derive(Clone, Debug)]
pub struct Pending {
    _sender: Sender<Infallible>,
}

/// Waits for all [`Pending`]s of one [`settlement`].
#[derive(Debug)]
pub struct Settlement(Receiver<Infallible>);

/// Returns a value to hold until everything has settled, and one that waits for that.
pub fn settlement() -> (Pending, Settlement) {
    let (sender, receiver) = channel();
    (Pending { _sender: sender }, Settlement(receiver))
}

impl Settlement {
    /// Blocks until the last [`Pending`] is dropped.
    pub fn wait(self) {
        // Nothing is ever sent: the channel closes.
        self.0.recv().ok();
    }
}

/// Runs a future, and drops `pending` when it waits for the first time.
pub async fn settled<F: Future>(future: F, pending: Pending) -> F::Output {
    let mut future = pin!(future);
    let mut pending = Some(pending);
    poll_fn(|context| {
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            pending = None;
        }
        poll
    })
    .await
}
