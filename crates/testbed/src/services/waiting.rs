//! What the slow handlers of all services wait for.

use std::sync::{Arc, Mutex, PoisonError};

use rtops_testbed::{
    FOREVER,
    settle::{Pending, settled},
};
use tokio::time::sleep;

/// Requests that have not reached the place where they wait.
#[derive(Clone)]
pub(crate) struct Arrivals(Arc<Mutex<Vec<Pending>>>);

impl Arrivals {
    pub(crate) fn of(pending: Pending, count: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![pending; count])))
    }

    fn take(&self) -> Option<Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Never ends.
pub(crate) async fn lookup(arrivals: &Arrivals) {
    match arrivals.take() {
        Some(pending) => settled(sleep(FOREVER), pending).await, // AWAIT grpc-watch http-slow http2-slow pool-slow
        None => sleep(FOREVER).await,
    }
}
