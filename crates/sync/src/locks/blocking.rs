//! Waiting on a thread that may block.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Blocks this thread until the future is ready.
///
/// # Panics
/// If called on a thread that polls tasks, like the blocking methods of tokio.
#[track_caller]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    // Only tokio knows where it would panic. Taking a lock that nobody else has does not block.
    drop(tokio::sync::Mutex::const_new(()).blocking_lock());
    let mut future = pin!(future);
    let first = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(output) = first {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
