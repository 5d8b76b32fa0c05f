//! From Knative Serving.

use std::sync::Arc;

use rtops_agent::Track;
use tokio::{sync::Notify, task::JoinHandle};

use crate::locks::{Mutex, OwnedMutexGuard, Semaphore};

/// serving#2137. A breaker lets one request through at a time, and each request works until its
/// lock is opened. The locks are opened and awaited in the order in which the requests were made;
/// the breaker took them in the other order.
pub(crate) fn breaker() {
    tokio::spawn(check().tracked("check"));
}

async fn check() {
    let active = Arc::new(Semaphore::new(1));
    let late = Arc::new(Notify::new());
    let first = Request::start("request 1", &active, Some(&late));
    let second = Request::start("request 2", &active, None);
    // In a service, the second one comes first by chance.
    while active.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    late.notify_one();
    for request in [first, second] {
        drop(request.closed);
        request.handle.await.ok(); // LEAK serving-2137
    }
}

struct Request {
    closed: Option<OwnedMutexGuard<()>>,
    handle: JoinHandle<()>,
}

impl Request {
    fn start(name: &'static str, active: &Arc<Semaphore>, late: Option<&Arc<Notify>>) -> Self {
        let lock = Arc::new(Mutex::new(()));
        let closed = Arc::clone(&lock).try_lock_owned().ok();
        let work = work(Arc::clone(active), lock, late.cloned());
        let handle = tokio::spawn(work.tracked(name));
        Self { closed, handle }
    }
}

async fn work(active: Arc<Semaphore>, lock: Arc<Mutex<()>>, late: Option<Arc<Notify>>) {
    if let Some(late) = late {
        late.notified().await;
    }
    let _active = active.acquire().await; // LEAK serving-2137
    let opened = lock.lock().await; // LEAK serving-2137
    drop(opened);
}
