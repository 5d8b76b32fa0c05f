//! A task keeps checking whether something is done, and yields in between:
//! no poll is long, but a core is busy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task;

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let is_done = Arc::new(AtomicBool::new(false));
        variant.spawn(wait_until(is_done.clone()));
        keep().await;
        drop(is_done);
    });
}

async fn wait_until(is_done: Arc<AtomicBool>) {
    while !is_done.load(Ordering::Relaxed) {
        task::yield_now().await; // STUCK wait_until: nobody tells it when to ask again
    }
}
