//! A task waits for one in a `LocalSet` that nobody drives: woken when spawned, but never polled.

use tokio::task::LocalSet;

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(_: Variant) {
    runtime(2).block_on(async {
        let local = LocalSet::new();
        let report = local.spawn_local(report());
        let _reported = report.await;
        drop(local);
        keep().await;
    });
}

async fn report() {
    keep().await; // STUCK report: it never comes here
}
