//! Two tasks wait for each other's messages on broadcast channels.

use tokio::sync::broadcast;

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let (to_left, left) = broadcast::channel(4);
        let (to_right, right) = broadcast::channel(4);
        variant.spawn(answer(left, to_right));
        variant.spawn(answer(right, to_left));
        keep().await;
    });
}

/// Two of these wait for each other.
async fn answer(mut from: broadcast::Receiver<u64>, to: broadcast::Sender<u64>) {
    loop {
        let number = from.recv().await; // STUCK answer: the other one waits for this one
        let _sent = to.send(number.unwrap_or_default());
    }
}
