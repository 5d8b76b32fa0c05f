//! From gRPC-Go.

use std::{
    mem::ManuallyDrop,
    sync::{self, Arc, mpsc::channel, mpsc::sync_channel},
};

use crate::{
    locks::Mutex,
    threads::thread,
    traffic::{TASKS, THREADS, requests, requests_to_threads},
};
use rtops_agent::Track;

/// grpc#1460. The keepalive of a connection without streams sleeps until there is one, while it
/// holds the lock of the connection. A new stream needs the lock to wake it.
pub(crate) fn keepalive() {
    let connection = Arc::new(sync::Mutex::new(0_u64));
    let (awaken, awoken) = channel();
    let (locked, is_locked) = channel();
    let its_connection = Arc::clone(&connection);
    thread("keepalive", move || {
        let streams = its_connection.lock().expect("nobody panics");
        locked.send(()).ok();
        awoken.recv().unwrap_or(*streams);
    });
    thread("new stream", move || {
        is_locked.recv().ok();
        let mut streams = connection.lock().expect("nobody panics"); // LEAK grpc-1460
        *streams += 1;
        awaken.send(*streams).ok();
    });
}

/// grpc#3017. A timer's callback that cleans a cache of connections returns
/// early, before the line that unlocks.
pub(crate) fn connection_cache() {
    let cache = Arc::new(Mutex::new(vec![1]));
    let cleaned = Arc::clone(&cache);
    let timer = async move { clean(&cleaned, true).await };
    tokio::spawn(timer.tracked("timer"));
    requests(TASKS, move |address| {
        rtops_agent::spawn(connect(Arc::clone(&cache), address));
    });
}

async fn clean(cache: &Mutex<Vec<usize>>, is_in_use: bool) {
    let mut connections = ManuallyDrop::new(cache.lock().await);
    if is_in_use {
        return;
    }
    connections.clear();
    drop(ManuallyDrop::into_inner(connections));
}

async fn connect(cache: Arc<Mutex<Vec<usize>>>, address: usize) {
    cache.lock().await.push(address); // LEAK grpc-3017
}

/// grpc#660. Each run of a benchmark has a worker that reports over a rendezvous channel when it is
/// done. A run that was stopped no longer listens.
pub(crate) fn benchmark() {
    let mut runs = Vec::new();
    requests_to_threads(THREADS, move |calls| {
        let (done, stopped) = sync_channel(0);
        runs.push(stopped);
        thread("close loop", move || {
            done.send(calls).ok(); // LEAK grpc-660
        });
    });
}
