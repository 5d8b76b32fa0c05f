//! Locks that are never released.

use std::{
    hint::black_box,
    mem,
    sync::{self, Arc},
    time::Duration,
};

use rtops_agent::Track;
use tokio::{
    sync::{mpsc, oneshot},
    time::interval,
};

use crate::{
    locks::{Mutex, OwnedMutexGuard, RwLock, Semaphore},
    traffic::{TASKS, requests},
};

/// A guard is handed to foreign code as a raw pointer, and never taken back.
pub(crate) fn forgotten() {
    let ledger = Arc::new(Mutex::new(0_u64));
    tokio::spawn(export(Arc::clone(&ledger)).tracked("export"));
    requests(TASKS, move |_| {
        rtops_agent::spawn(book(Arc::clone(&ledger)));
    });
}

async fn export(ledger: Arc<Mutex<u64>>) {
    mem::forget(ledger.lock().await);
}

async fn book(ledger: Arc<Mutex<u64>>) {
    *ledger.lock().await += 1; // LEAK lock-forgotten
}

/// A finished upload stays in the list of uploads, and with it the guard of its file.
pub(crate) fn kept() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let uploads = Arc::new(sync::Mutex::new(Vec::new()));
    tokio::spawn(show(Arc::clone(&uploads)).tracked("status"));
    let upload = async move {
        let file_guard = Arc::clone(&file).lock_owned().await;
        let mut uploads = uploads.lock().expect("nobody panics");
        uploads.push(Upload { file: file_guard });
        tokio::spawn(rotate(file).tracked("rotate"));
    };
    tokio::spawn(upload.tracked("upload"));
}

struct Upload {
    file: OwnedMutexGuard<Vec<u8>>,
}

async fn show(uploads: Arc<sync::Mutex<Vec<Upload>>>) {
    let mut due = interval(Duration::from_secs(1));
    loop {
        due.tick().await;
        let uploads = uploads.lock().expect("nobody panics");
        black_box(
            uploads
                .iter()
                .map(|upload| upload.file.len())
                .sum::<usize>(),
        );
    }
}

async fn rotate(file: Arc<Mutex<Vec<u8>>>) {
    file.lock().await.clear(); // LEAK lock-kept
}

/// The guard of a cache is held across the await of a reply that never comes.
pub(crate) fn across_await() {
    let cache = Arc::new(Mutex::new(0_u64));
    let (reply, upstream) = oneshot::channel();
    tokio::spawn(refresh(Arc::clone(&cache), upstream).tracked("refresh"));
    requests(TASKS, move |_| {
        let _kept = &reply;
        rtops_agent::spawn(look_up(Arc::clone(&cache)));
    });
}

async fn refresh(cache: Arc<Mutex<u64>>, upstream: oneshot::Receiver<u64>) {
    let mut cached = cache.lock().await;
    *cached = upstream.await.unwrap_or_default();
}

async fn look_up(cache: Arc<Mutex<u64>>) -> u64 {
    *cache.lock().await // LEAK lock-across-await
}

/// A callback is to return the permit, but is not called for a job that fails. Four jobs have
/// failed, and there were four permits.
pub(crate) fn permits() {
    let limit = Arc::new(Semaphore::new(4));
    while let Ok(permit) = limit.try_acquire() {
        permit.forget();
    }
    requests(TASKS, move |_| {
        rtops_agent::spawn(limited(Arc::clone(&limit)));
    });
}

async fn limited(limit: Arc<Semaphore>) {
    let permit = limit.acquire().await; // LEAK permit-forgotten
    drop(permit);
}

/// A reader keeps its guard for as long as it streams, and nobody receives the stream.
pub(crate) fn reader() {
    let routes = Arc::new(RwLock::new(vec!["/", "/health", "/metrics"]));
    let (rows, unread) = mpsc::channel(1);
    tokio::spawn(stream(Arc::clone(&routes), rows).tracked("stream"));
    let reload = async move {
        routes.write().await.clear(); // LEAK read-guard-kept
        drop(unread);
    };
    tokio::spawn(reload.tracked("reload"));
}

async fn stream(routes: Arc<RwLock<Vec<&str>>>, rows: mpsc::Sender<String>) {
    for route in routes.read().await.iter() {
        rows.send((*route).to_owned()).await.ok(); // LEAK read-guard-kept
    }
}
