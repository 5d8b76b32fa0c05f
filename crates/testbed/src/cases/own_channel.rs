//! A task has both ends of a channel, and waits for a message or for the channel to close: neither
//! happens, as the task itself keeps the sender.

use tokio::sync::{mpsc, oneshot};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        variant.spawn(collect());
        variant.spawn(hand_over(variant));
        keep().await;
    });
}

async fn collect() -> u64 {
    let (sender, mut receiver) = mpsc::channel(4);
    let _sent = sender.send(1).await;
    let mut sum = 0;
    while sum < 2 {
        let number = receiver.recv().await; // STUCK collect: only its own sender could send one more
        sum += number.unwrap_or(2);
    }
    drop(sender);
    sum
}

/// The channel is moved, but its former place in memory still has its address.
async fn hand_over(variant: Variant) {
    let mut place = Box::new(Some(oneshot::channel()));
    let (sender, receiver) = place.take().expect("it was put there");
    variant.spawn(confirm(sender, receiver));
    keep().await;
    drop(place);
}

async fn confirm(sender: oneshot::Sender<()>, receiver: oneshot::Receiver<()>) {
    let _confirmed = receiver.await; // STUCK confirm: it would have to send that itself
    drop(sender);
}
