//! From etcd.

use std::sync::{self, Arc, mpsc::channel};

use rtops_agent::Track;
use tokio::{
    select,
    sync::{
        Notify,
        mpsc::{self, Receiver, Sender},
    },
};

use crate::{
    locks::{Mutex, OwnedRwLockReadGuard, RwLock},
    threads::thread,
};

/// etcd#7492. A login holds the lock of the tokens while it sends new ones to their keeper. The
/// keeper is handling its tick, which takes the lock.
pub(crate) fn token_keeper() {
    let (added, to_keep) = mpsc::channel(1);
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let ticks = Arc::new(Notify::new());
    let keeper = keep_tokens(Arc::clone(&tokens), to_keep, Arc::clone(&ticks));
    tokio::spawn(keeper.tracked("token keeper"));
    tokio::spawn(log_in(tokens, added, ticks).tracked("login"));
}

async fn log_in(tokens: Arc<Mutex<Vec<u64>>>, added: Sender<u64>, ticks: Arc<Notify>) {
    let mut tokens = tokens.lock().await;
    // In a service, a tick comes by chance meanwhile.
    ticks.notify_one();
    for token in 0..2 {
        tokens.push(token);
        added.send(token).await.ok(); // LEAK etcd-7492
    }
}

async fn keep_tokens(tokens: Arc<Mutex<Vec<u64>>>, mut added: Receiver<u64>, ticks: Arc<Notify>) {
    loop {
        select! {
            biased;
            () = ticks.notified() => tokens.lock().await.clear(), // LEAK etcd-7492
            Some(_) = added.recv() => {}
        }
    }
}

/// etcd#6708. A client is locked for writing while its endpoints are updated. The update asks for
/// the leader through the same client, which that locks for reading.
pub(crate) fn endpoints() {
    let client = Arc::new(RwLock::new(vec!["10.0.0.1"]));
    let sync = async move {
        let mut endpoints = client.write().await;
        let leader = leader(&client).await;
        endpoints.truncate(leader);
    };
    tokio::spawn(sync.tracked("sync endpoints"));
}

async fn leader(client: &RwLock<Vec<&str>>) -> usize {
    client.read().await.len() // LEAK etcd-6708
}

/// etcd#5509. The function that acquires a remote client returns with the client's lock held for
/// reading, even if it failed. The task that closes the client waits forever.
pub(crate) fn remote_client() {
    let client = Arc::new(RwLock::new("connected"));
    let close = async move {
        let failures: Vec<_> = acquire(&client).await.err().into_iter().collect();
        *client.write().await = "closed"; // LEAK etcd-5509
        failures.len()
    };
    tokio::spawn(close.tracked("close"));
}

struct Failure {
    _client: OwnedRwLockReadGuard<&'static str>,
}

type Client = OwnedRwLockReadGuard<&'static str>;

async fn acquire(client: &Arc<RwLock<&'static str>>) -> Result<Client, Failure> {
    let client = Arc::clone(client).read_owned().await;
    if *client == "closed" {
        return Ok(client);
    }
    Err(Failure { _client: client })
}

/// etcd#7902. In an election, a follower holds the lock of the round while it waits for the next
/// round. The leader, who would open that, wants the lock first.
pub(crate) fn election() {
    let round = Arc::new(sync::Mutex::new(1));
    let (open, next) = channel::<u64>();
    let (locked, is_locked) = channel();
    let its_round = Arc::clone(&round);
    thread("follower", move || {
        let mut round = its_round.lock().expect("nobody panics");
        locked.send(()).ok();
        *round = next.recv().unwrap_or_default();
    });
    thread("leader", move || {
        is_locked.recv().ok();
        let round = round.lock().expect("nobody panics"); // LEAK etcd-7902
        open.send(*round + 1).ok();
    });
}
