//! What a cell is filled with needs the cell.

use std::{future::Future, pin::Pin};

use tokio::sync::OnceCell;

use crate::variant::{Variant, keep, runtime};

static CONFIG: OnceCell<u64> = OnceCell::const_new();

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        variant.spawn(async { serve(config().await) });
        keep().await;
    });
}

fn serve(_: u64) {}

fn config() -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async { *CONFIG.get_or_init(read).await }) // STUCK config: the cell is being filled
}

async fn read() -> u64 {
    config().await + 1 // STUCK read: that fills it
}
