//! A task that reads wants to read once more, behind one that waits to write.

use std::sync::Arc;

use tokio::sync::{Barrier, RwLock};

use crate::variant::{Variant, keep, runtime};

type Rates = Arc<RwLock<u64>>;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        let rates = Rates::default();
        let started = Arc::new(Barrier::new(2));
        variant.spawn(report(rates.clone(), started.clone()));
        variant.spawn(refresh(rates.clone(), started));
        keep().await;
        drop(rates);
    });
}

async fn report(rates: Rates, started: Arc<Barrier>) -> u64 {
    let first = rates.read().await;
    started.wait().await;
    while !is_wanted(&rates) {
        tokio::task::yield_now().await;
    }
    let second = rates.read().await; // STUCK report: a writer is before it in the queue
    *first + *second
}

async fn refresh(rates: Rates, started: Arc<Barrier>) {
    started.wait().await;
    *rates.write().await += 1; // STUCK refresh: the reader keeps its first guard
}

/// Whether a writer waits: then nobody else gets a guard.
fn is_wanted(rates: &Rates) -> bool {
    rates.try_read().is_err()
}
