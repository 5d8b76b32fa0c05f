//! From Kubernetes.

use std::{
    sync::{self, Arc, Barrier},
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

/// kubernetes#10182. Statuses of pods are sent with their lock held. The one who receives them
/// takes the lock to delete one.
pub(crate) fn pod_statuses() {
    let (sent, to_sync) = mpsc::channel(1);
    let statuses = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(sync_batch(Arc::clone(&statuses), to_sync).tracked("status manager"));
    tokio::spawn(set_statuses(statuses, sent).tracked("pod worker"));
}

async fn set_statuses(statuses: Arc<Mutex<Vec<u64>>>, sent: Sender<u64>) {
    let mut statuses = statuses.lock().await;
    for pod in 0..3 {
        statuses.push(pod);
        sent.send(pod).await.ok(); // LEAK kubernetes-10182
    }
}

async fn sync_batch(statuses: Arc<Mutex<Vec<u64>>>, mut sent: Receiver<u64>) {
    while let Some(pod) = sent.recv().await {
        statuses.lock().await.retain(|other| *other != pod); // LEAK kubernetes-10182
    }
}

/// kubernetes#1321. Events are distributed to watchers with the lock of all watchers held. A
/// watcher that wants no more can only stop under that lock.
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

/// kubernetes#62464. The state of the CPU manager is locked for reading, and once more by what it
/// calls. A container that is removed came between, to write.
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

/// kubernetes#70277. Each poll of a condition starts a task that ticks until it is told that the
/// poll is over. Nobody tells it.
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

/// kubernetes#30872. A queue calls its handler with its lock held, and that takes the lock of the
/// informer. Who asks whether the informer is in sync holds that one, and asks the queue.
pub(crate) fn informer() {
    let [informer, queue] = [(), ()].map(|()| Arc::new(sync::Mutex::new(0_u64)));
    let both = Arc::new(Barrier::new(2));
    let its_both = Arc::clone(&both);
    let (its_informer, its_queue) = (Arc::clone(&informer), Arc::clone(&queue));
    thread("controller", move || {
        let popped = its_queue.lock().expect("nobody panics");
        its_both.wait();
        let mut clusters = its_informer.lock().expect("nobody panics"); // LEAK kubernetes-30872
        *clusters += *popped;
    });
    thread("namespaces", move || {
        let clusters = informer.lock().expect("nobody panics");
        both.wait();
        let queued = queue.lock().expect("nobody panics"); // LEAK kubernetes-30872
        *queued == *clusters
    });
}
