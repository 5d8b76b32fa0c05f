//! A hand-written future creates its inner future in every poll, and drops it
//! again (reqwest#949, futures-rs#2086).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::Mutex, time::sleep};

use crate::variant::{Variant, keep, runtime};

struct Get(Arc<Mutex<u32>>);

impl Future for Get {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        let mut lock = Box::pin(self.0.lock());
        lock.as_mut().poll(context).map(|number| *number) // STUCK client: its waker goes with the inner future
    }
}

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let value = Arc::new(Mutex::new(7));
        let guard = value.lock().await;
        variant.spawn(client(value.clone()));
        sleep(Duration::from_millis(100)).await;
        drop(guard);
        keep().await;
    });
}

async fn client(value: Arc<Mutex<u32>>) {
    let _number = Get(value).await; // STUCK client: nothing can wake it
}
