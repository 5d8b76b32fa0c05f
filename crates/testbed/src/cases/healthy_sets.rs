//! Two sets with hundreds of tasks, one joined by a task and one by the main future of the runtime:
//! each poll looks at one of the tasks, and has the set polled once more.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use crate::variant::{Variant, runtime};

const TASKS: usize = 300;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        variant.spawn(join_all());
        join_all().await;
    });
}

async fn join_all() {
    let mut set = JoinSet::new();
    for _ in 0..TASKS {
        set.spawn(request());
    }
    while set.join_next().await.is_some() {}
}

async fn request() {
    sleep(Duration::from_secs(3600)).await;
}
