//! From `CockroachDB`.

use std::sync::Arc;

use rtops_agent::Track;
use tokio::{
    select,
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
    task::yield_now,
};

use crate::{
    locks::{Mutex, RwLock, Semaphore},
    traffic::{TASKS, requests},
};

/// cockroach#1055. A stopper holds its lock while it waits for the tasks under way to
/// finish. One of them waits to be stopped, which happens only after that; and everyone
/// who wants to start a task waits for the lock.
pub(crate) fn stopper() {
    let stopper = Arc::new(Stopper {
        draining: Mutex::new(false),
        under_way: watch::Sender::new(1),
    });
    tokio::spawn(quiesce(stopper).tracked("stop"));
}

struct Stopper {
    draining: Mutex<bool>,
    under_way: watch::Sender<usize>,
}

async fn quiesce(stopper: Arc<Stopper>) {
    let mut draining = stopper.draining.lock().await;
    *draining = true;
    tokio::spawn(start_task(Arc::clone(&stopper)).tracked("start task"));
    let mut under_way = stopper.under_way.subscribe();
    under_way.wait_for(|count| *count == 0).await.ok();
}

async fn start_task(stopper: Arc<Stopper>) {
    let draining = stopper.draining.lock().await; // LEAK cockroach-1055
    if !*draining {
        stopper.under_way.send_modify(|count| *count += 1);
    }
}

/// cockroach#13197. A transaction starts a task that waits for the cancellation of its context. It
/// is neither committed nor rolled back, and the context lives on.
pub(crate) fn transactions() {
    let mut contexts = Vec::new();
    requests(TASKS, move |_| {
        let context = watch::Sender::new(false);
        rtops_agent::spawn(await_done(context.subscribe()));
        contexts.push(context);
    });
}

async fn await_done(mut context: watch::Receiver<bool>) {
    context.wait_for(|cancelled| *cancelled).await.ok(); // LEAK cockroach-13197
}

/// cockroach#2448. The consensus loop sends events to the store; while it works on one, the store
/// sends back callbacks. Both channels are full, and neither loop receives while it sends.
pub(crate) fn event_loops() {
    let (events, to_store) = mpsc::channel(1);
    let (callbacks, to_raft) = mpsc::channel(1);
    let (commands, to_commit) = mpsc::channel(8);
    for command in 0..8 {
        commands.try_send(command).ok();
    }
    tokio::spawn(multi_raft(to_commit, events, to_raft).tracked("multiraft"));
    tokio::spawn(process(to_store, callbacks).tracked("store"));
}

async fn multi_raft(
    mut commands: Receiver<u64>,
    events: Sender<u64>,
    mut callbacks: Receiver<u64>,
) {
    loop {
        select! {
            biased;
            Some(command) = commands.recv() => {
                events.send(command).await.ok(); // LEAK cockroach-2448
            }
            Some(_) = callbacks.recv() => {}
            else => return,
        }
    }
}

async fn process(mut events: Receiver<u64>, callbacks: Sender<u64>) {
    while let Some(event) = events.recv().await {
        for _replica in 0..3 {
            callbacks.send(event).await.ok(); // LEAK cockroach-2448
        }
    }
}

/// cockroach#584. A loop locks and unlocks by hand, and exits between the two.
pub(crate) fn gossip() {
    let lock = Arc::new(Semaphore::new(1));
    let managed = Arc::clone(&lock);
    let gossip = async move {
        manage(&managed).await;
        tokio::spawn(bootstrap(lock).tracked("bootstrap"));
    };
    tokio::spawn(gossip.tracked("gossip"));
}

async fn manage(lock: &Semaphore) {
    for round in 0.. {
        if let Ok(locked) = lock.acquire().await {
            locked.forget();
        }
        if round == 3 {
            break;
        }
        lock.add_permits(1);
    }
}

async fn bootstrap(lock: Arc<Semaphore>) {
    let locked = lock.acquire().await; // LEAK cockroach-584
    drop(locked);
}

/// cockroach#24808. A compactor sends a first suggestion into its channel before it starts the loop
/// that empties the channel. Somebody else was faster, and there is room for only one.
pub(crate) fn compactor() {
    let (suggestions, to_compact) = mpsc::channel(1);
    suggestions.try_send("range 7").ok();
    tokio::spawn(start_compactor(suggestions, to_compact).tracked("compactor"));
}

async fn start_compactor(suggestions: Sender<&str>, mut to_compact: Receiver<&str>) {
    suggestions.send("all").await.ok(); // LEAK cockroach-24808
    while to_compact.recv().await.is_some() {}
}

/// cockroach#3710. A store is locked for reading twice in one chain of calls. In
/// between, a writer came, and readers wait behind it.
pub(crate) fn read_twice() {
    let store = Arc::new(RwLock::new(vec![1, 2, 3]));
    tokio::spawn(scan(store).tracked("scan"));
}

async fn scan(store: Arc<RwLock<Vec<u64>>>) -> usize {
    let ranges = store.read().await;
    tokio::spawn(process_raft(Arc::clone(&store)).tracked("raft"));
    // In a service, the writer comes by chance.
    while store.try_read().is_ok() {
        yield_now().await;
    }
    ranges.len() + raft_status(&store).await
}

async fn raft_status(store: &RwLock<Vec<u64>>) -> usize {
    store.read().await.len() // LEAK cockroach-3710
}

async fn process_raft(store: Arc<RwLock<Vec<u64>>>) {
    store.write().await.push(4); // LEAK cockroach-3710
}
