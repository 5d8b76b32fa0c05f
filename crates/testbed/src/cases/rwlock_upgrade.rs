//! A task that reads wants to write as well, and waits for itself.

use std::sync::Arc;

use tokio::sync::RwLock;

use crate::variant::{Variant, keep, runtime};

type Prices = Arc<RwLock<u64>>;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        let prices = Prices::default();
        variant.spawn(update(prices.clone()));
        keep().await;
        drop(prices);
    });
}

async fn update(prices: Prices) {
    let before = prices.read().await;
    let mut prices = prices.write().await; // STUCK update: its own guard is in its way
    *prices = *before + 1;
}
