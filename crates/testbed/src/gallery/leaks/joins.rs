//! Tasks that await each other, or themselves.

use std::sync::Arc;

use rtops_agent::Track;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use crate::{
    locks::Mutex,
    traffic::{TASKS, requests},
};

/// Each of two stages stops after the other.
pub(crate) fn each_other() {
    let (to_parser, for_parser) = oneshot::channel();
    let (to_writer, for_writer) = oneshot::channel();
    let parser = tokio::spawn(stop_after(for_parser).tracked("parser"));
    let writer = tokio::spawn(stop_after(for_writer).tracked("writer"));
    to_parser.send(writer).ok();
    to_writer.send(parser).ok();
}

async fn stop_after(other: oneshot::Receiver<JoinHandle<()>>) {
    if let Ok(other) = other.await {
        other.await.ok(); // LEAK join-each-other
    }
}

/// A session's supervisor stops all tasks on its list and awaits them. It is on the list, too.
pub(crate) fn itself() {
    requests(TASKS, |_| session());
}

fn session() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let shutdown = Arc::new(Notify::new());
    let supervisor = supervise(Arc::clone(&tasks), Arc::clone(&shutdown));
    let handle = tokio::spawn(supervisor.tracked("supervisor"));
    if let Ok(mut tasks) = tasks.try_lock() {
        tasks.push(handle);
    }
    shutdown.notify_one();
}

async fn supervise(tasks: Arc<Mutex<Vec<JoinHandle<()>>>>, shutdown: Arc<Notify>) {
    shutdown.notified().await;
    for task in tasks.lock().await.drain(..) {
        task.await.ok(); // LEAK join-itself
    }
}

/// A cache stays locked while the task that fills it is awaited.
pub(crate) fn under_lock() {
    let cache = Arc::new(Mutex::new(Vec::new()));
    let warm = async move {
        let filled = cache.lock().await;
        let fill = rtops_agent::spawn(fill(Arc::clone(&cache)));
        fill.await.ok(); // LEAK join-under-lock
        drop(filled);
    };
    tokio::spawn(warm.tracked("warm"));
}

async fn fill(cache: Arc<Mutex<Vec<u64>>>) {
    cache.lock().await.push(7); // LEAK join-under-lock
}
