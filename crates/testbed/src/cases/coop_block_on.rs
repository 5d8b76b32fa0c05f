//! `futures::executor::block_on` in a task: once the task's budget is exhausted, every ready future
//! returns `Pending` and wakes the thread, which polls again with an empty budget (tokio#2376).

use futures::executor::block_on;
use tokio::task::spawn_blocking;

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        variant.spawn(work());
        keep().await;
    });
}

async fn work() {
    for number in 0..1000 {
        ask_and_wait(number);
    }
}

fn ask_and_wait(number: u32) -> u32 {
    block_on(ask(number)) // STUCK work: never gets a budget
}

async fn ask(number: u32) -> u32 {
    spawn_blocking(move || number + 1).await.unwrap_or_default()
}
