//! A task has both ends of a channel, and waits for a message or for the end of it: neither comes, as it keeps the
//! sender itself.

use tokio::sync::{mpsc, oneshot};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        variant.spawn(collect());
        variant.spawn(confirm());
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

async fn confirm() {
    let (sender, receiver) = oneshot::channel::<()>();
    let _confirmed = receiver.await; // STUCK confirm: it would have to send that itself
    drop(sender);
}
