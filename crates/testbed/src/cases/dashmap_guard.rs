//! A task holds a guard of a `DashMap` across an await, and another blocks the only worker on the
//! same shard (nacos-sdk-rust#309, dashmap#79): no thread holds the lock.

use std::{future::pending, sync::Arc, time::Duration};

use dashmap::DashMap;
use tokio::{sync::oneshot, time::sleep};

use crate::variant::{Variant, runtime};

type Map = Arc<DashMap<u32, String>>;

pub(crate) fn run(variant: Variant) {
    runtime(1).block_on(async {
        let map: Map = Arc::new((0..4).map(|number| (number, number.to_string())).collect());
        let (sender, receiver) = oneshot::channel();
        variant.spawn(notify_change(map.clone(), receiver));
        variant.spawn(list_watch(map));
        variant.spawn(answer(sender));
        pending::<()>().await;
    });
}

async fn notify_change(map: Map, answer: oneshot::Receiver<String>) {
    let mut entry = map.get_mut(&1).expect("it was put there");
    sleep(Duration::from_millis(200)).await; // STUCK notify_change: has the guard, and no thread polls it
    if let Ok(value) = answer.await {
        *entry = value;
    }
}

async fn list_watch(map: Map) {
    loop {
        sleep(Duration::from_millis(100)).await;
        let text = map.get(&1).map(|entry| entry.clone()); // STUCK list_watch: blocks the worker
        drop(text);
    }
}

async fn answer(sender: oneshot::Sender<String>) {
    sleep(Duration::from_millis(300)).await;
    let _sent = sender.send("new".to_owned()); // STUCK answer: starved
}
