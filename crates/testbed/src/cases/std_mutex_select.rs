//! One branch holds a blocking lock across an await, and another branch of the same task takes the
//! lock: that blocks the thread that would have to poll the first branch (tokio#4588).

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::variant::{Variant, keep, runtime};

type Pods = Arc<Mutex<Vec<u32>>>;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        variant.spawn(controller(Pods::default()));
        keep().await;
    });
}

async fn controller(pods: Pods) {
    tokio::join!(system_calls(pods.clone()), watch_pods(pods));
}

#[expect(clippy::await_holding_lock, reason = "this is the fault")]
async fn system_calls(pods: Pods) {
    loop {
        let list = pods.lock();
        sleep(Duration::from_millis(30)).await;
        drop(list);
        sleep(Duration::from_millis(1)).await;
    }
}

async fn watch_pods(pods: Pods) {
    loop {
        sleep(Duration::from_millis(20)).await;
        pods.lock().push(1); // STUCK controller: blocks its thread on a lock that it has itself
    }
}
