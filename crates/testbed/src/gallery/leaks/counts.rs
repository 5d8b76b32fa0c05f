//! Waits for too many, and for notifications already given: `WaitGroup` and `Cond` in Go.

use std::sync::Arc;

use rtops_agent::{JoinSet, Track};
use tokio::sync::{
    Barrier, Notify, OnceCell, oneshot,
    watch::{self, Sender},
};

use crate::traffic::{NO_END, TASKS, goes_wrong, requests};

/// A barrier counts the workers and the task that starts them, which never arrives.
pub(crate) fn barrier() {
    let ready = Arc::new(Barrier::new(3 + 1));
    for worker in 0..3 {
        let ready = Arc::clone(&ready);
        let work = async move {
            ready.wait().await; // LEAK barrier-too-many
        };
        tokio::spawn(work.tracked(format!("worker {worker}")));
    }
}

/// A batch waits until its parts have counted down to zero. A part
/// that fails returns before it counts.
pub(crate) fn countdown() {
    requests(NO_END, |number| {
        rtops_agent::spawn(batch(number));
    });
}

async fn batch(number: usize) {
    let (left, mut done) = watch::channel(2_usize);
    let left = Arc::new(left);
    for part in 0..2 {
        tokio::spawn(import(number + part, Arc::clone(&left)));
    }
    let _all = left;
    done.wait_for(|left| *left == 0).await.ok(); // LEAK countdown-too-many
}

async fn import(part: usize, left: Arc<Sender<usize>>) {
    if goes_wrong(part) {
        return;
    }
    left.send_modify(|left| *left -= 1);
}

/// A request asks two shards and awaits both answers. A few shards never answer.
pub(crate) fn straggler() {
    requests(NO_END, |number| {
        rtops_agent::spawn(scatter(number));
    });
}

async fn scatter(number: usize) {
    let mut shards = JoinSet::new();
    let mut unanswered = Vec::new();
    for shard in 0..2 {
        let (answer, question) = oneshot::channel();
        shards.spawn(gather(question));
        if shard == 0 && goes_wrong(number) {
            unanswered.push(answer);
        } else {
            answer.send(shard).ok();
        }
    }
    while shards.join_next().await.is_some() {} // LEAK join-set-straggler
}

async fn gather(question: oneshot::Receiver<u64>) -> u64 {
    question.await.unwrap_or_default() // LEAK join-set-straggler
}

/// Handlers wait to be told that the start is over. Only those that waited then were told.
pub(crate) fn notify() {
    let started = Arc::new(Notify::new());
    started.notify_waiters();
    requests(TASKS, move |_| {
        rtops_agent::spawn(when_started(Arc::clone(&started)));
    });
}

async fn when_started(started: Arc<Notify>) {
    started.notified().await; // LEAK notify-missed
}

/// The first value of a cell is computed from the cell itself.
pub(crate) fn once_cell() {
    let config = Arc::new(OnceCell::new());
    let load = async move { load(&config).await };
    tokio::spawn(load.tracked("load"));
}

async fn load(config: &OnceCell<u64>) -> u64 {
    *config.get_or_init(|| defaults(config)).await
}

async fn defaults(config: &OnceCell<u64>) -> u64 {
    let port = config.get_or_init(async || 80).await; // LEAK once-cell-recursive
    port + 8000
}
