//! From Kubernetes.

use std::{
    sync::{self, Arc},
    thread::sleep,
    time::Duration,
};

use rtops_agent::Track;
use tokio::{
    select,
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
    time::interval,
};

use crate::{
    locks::Mutex,
    threads::thread,
    traffic::{TASKS, requests},
};

/// kubernetes#1321. Events are distributed to watchers while the lock of all watchers is held. A
/// watcher that wants no more events needs that lock to stop.
pub(crate) fn watch_mux() {
    let (result, events) = mpsc::channel(1);
    let watchers = Arc::new(Mutex::new(vec![result]));
    tokio::spawn(distribute(Arc::clone(&watchers)).tracked("mux"));
    tokio::spawn(stop_after_one(watchers, events).tracked("watcher"));
}

async fn distribute(watchers: Arc<Mutex<Vec<Sender<u64>>>>) {
    let watchers = watchers.lock().await;
    for event in 0..3 {
        for watcher in watchers.iter() {
            watcher.send(event).await.ok(); // LEAK kubernetes-1321
        }
    }
}

async fn stop_after_one(watchers: Arc<Mutex<Vec<Sender<u64>>>>, mut events: Receiver<u64>) {
    events.recv().await;
    watchers.lock().await.clear(); // LEAK kubernetes-1321
    events.close();
}

/// kubernetes#62464. The state of the CPU manager is locked for reading, and once more by a
/// function that is called then. In between, the removal of a container wants to write.
pub(crate) fn cpu_state() {
    let state = Arc::new(sync::RwLock::new(vec![0, 1]));
    let removed = Arc::clone(&state);
    thread("reconcile", move || {
        let cpus = state.read().expect("nobody panics");
        thread("remove", move || {
            removed.write().expect("nobody panics").clear(); // LEAK kubernetes-62464
        });
        // In a service, the writer comes by chance.
        while state.try_read().is_ok() {
            sleep(Duration::from_millis(1));
        }
        cpus.len() + default_cpus(&state)
    });
}

fn default_cpus(state: &sync::RwLock<Vec<u64>>) -> usize {
    let cpus = state.read().expect("nobody panics"); // LEAK kubernetes-62464
    cpus.len()
}

/// kubernetes#70277. Each poll of a condition starts a task that ticks until it is
/// told that the poll is over. Nobody tells it.
pub(crate) fn wait_poll() {
    let mut polls = Vec::new();
    requests(TASKS, move |_| {
        let done = watch::Sender::new(());
        let (ticks, first) = mpsc::channel(1);
        rtops_agent::spawn(poller(ticks, done.subscribe()));
        polls.push((done, first));
    });
}

async fn poller(ticks: Sender<()>, mut done: watch::Receiver<()>) {
    let mut due = interval(Duration::from_secs(5));
    loop {
        select! { // LEAK kubernetes-70277
            _ = due.tick() => ticks.try_send(()).unwrap_or_default(),
            _ = done.changed() => return,
        }
    }
}
