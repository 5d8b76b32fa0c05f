//! Deadlocks of tasks over locks: cycles of tasks that wait for each other.

use std::sync::Arc;

use rtops_agent::Track;
use tokio::sync::Barrier;

use crate::locks::{Mutex, RwLock, Semaphore};

/// A method takes a lock that its caller holds.
pub(crate) fn lock_twice() {
    let cart = Arc::new(Mutex::new(vec![3, 4]));
    tokio::spawn(check_out(cart).tracked("checkout"));
}

async fn check_out(cart: Arc<Mutex<Vec<u64>>>) -> u64 {
    let mut items = cart.lock().await;
    items.push(total(&cart).await);
    items.iter().sum()
}

async fn total(cart: &Mutex<Vec<u64>>) -> u64 {
    cart.lock().await.iter().sum() // LEAK lock-twice
}

/// Two transfers in opposite directions.
pub(crate) fn lock_order() {
    let [one, other] = [100, 100].map(|balance| Arc::new(Mutex::new(balance)));
    let both = Arc::new(Barrier::new(2));
    for (from, to) in [(&one, &other), (&other, &one)] {
        let transfer = transfer(Arc::clone(from), Arc::clone(to), Arc::clone(&both));
        tokio::spawn(transfer.tracked("transfer"));
    }
}

async fn transfer(from: Arc<Mutex<u64>>, to: Arc<Mutex<u64>>, both: Arc<Barrier>) {
    let mut from = from.lock().await;
    // In a service, they meet by chance.
    both.wait().await;
    let mut to = to.lock().await; // LEAK lock-order
    *from -= 1;
    *to += 1;
}

/// Three replicas, each of which locks its own log and then that of the next one.
pub(crate) fn lock_ring() {
    let logs = [0, 1, 2].map(|replica| Arc::new(Mutex::new(vec![replica])));
    let all = Arc::new(Barrier::new(logs.len()));
    let next = logs.iter().cycle().skip(1);
    for ((own, next), replica) in logs.iter().zip(next).zip(1..) {
        let compare = compare(Arc::clone(own), Arc::clone(next), Arc::clone(&all));
        tokio::spawn(compare.tracked(format!("replica {replica}")));
    }
}

async fn compare(own: Arc<Mutex<Vec<u64>>>, next: Arc<Mutex<Vec<u64>>>, all: Arc<Barrier>) -> bool {
    let own = own.lock().await;
    all.wait().await;
    let next = next.lock().await; // LEAK lock-ring
    own.len() == next.len()
}

/// A reader that finds no entry wants to write one.
pub(crate) fn upgrade() {
    let names = Arc::new(RwLock::new(Vec::new()));
    tokio::spawn(intern(names, "gateway").tracked("intern"));
}

async fn intern(names: Arc<RwLock<Vec<&str>>>, name: &'static str) -> usize {
    let known = names.read().await;
    if let Some(place) = known.iter().position(|known| *known == name) {
        return place;
    }
    let mut names = names.write().await; // LEAK rwlock-upgrade
    names.push(name);
    names.len() - 1
}

/// A limiter allows one job at a time, and a job starts part of itself through the same limiter.
pub(crate) fn permit_twice() {
    let limiter = Arc::new(Semaphore::new(1));
    let backup = async move {
        let _permit = limiter.acquire().await;
        for _table in 0..3 {
            let _permit = limiter.acquire().await; // LEAK permit-twice
        }
    };
    tokio::spawn(backup.tracked("backup"));
}

/// A pool of two connections, and two requests that hold one each and need another.
pub(crate) fn pool_exhausted() {
    let pool = Arc::new(Semaphore::new(2));
    let both = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let order = order(Arc::clone(&pool), Arc::clone(&both));
        tokio::spawn(order.tracked("order"));
    }
}

async fn order(pool: Arc<Semaphore>, both: Arc<Barrier>) {
    let _transaction = pool.acquire().await;
    both.wait().await;
    let _lookup = pool.acquire().await; // LEAK pool-exhausted
}
