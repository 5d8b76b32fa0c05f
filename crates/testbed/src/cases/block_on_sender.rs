//! `main` waits for a task that receives until all senders are gone, and keeps one of them.

use tokio::sync::mpsc;

use crate::variant::{Variant, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(serve(variant));
}

async fn serve(variant: Variant) {
    let (sender, receiver) = mpsc::channel(4);
    let printed = variant.spawn(print(receiver));
    let _sent = sender.send(1).await;
    let _done = printed.await; // STUCK serve: the channel ends once its own sender is gone
    drop(sender);
}

async fn print(mut receiver: mpsc::Receiver<u64>) -> u64 {
    let mut sum = 0;
    loop {
        let number = receiver.recv().await; // STUCK print: nobody else has a sender
        let Some(number) = number else { return sum };
        sum += number;
    }
}
