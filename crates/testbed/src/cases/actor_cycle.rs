//! Two actors with full, bounded mailboxes send to each other (ockam#1947, xtra#13).

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::variant::{Variant, keep, runtime};

const CAPACITY: usize = 8;
const CLIENTS: usize = 3;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let (to_router, routed) = channel(CAPACITY);
        let (to_storage, stored) = channel(CAPACITY);
        variant.spawn(router(routed, to_storage));
        variant.spawn(storage(stored, to_router.clone()));
        for _ in 0..CLIENTS {
            variant.spawn(client(to_router.clone()));
        }
        drop(to_router);
        keep().await;
    });
}

async fn router(mut inbox: Receiver<u64>, storage: Sender<u64>) {
    while let Some(number) = inbox.recv().await {
        let _sent = storage.send(number).await; // STUCK router: its own inbox is full
        let _sent = storage.send(number).await; // STUCK router: or here
    }
}

async fn storage(mut inbox: Receiver<u64>, router: Sender<u64>) {
    while let Some(number) = inbox.recv().await {
        let _sent = router.send(number).await; // STUCK storage: like the router
    }
}

async fn client(router: Sender<u64>) {
    for number in 0.. {
        let _sent = router.send(number).await; // STUCK client: a victim
    }
}
