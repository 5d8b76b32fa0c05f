//! The end of a check in async code, on any executor: a separate thread waits and takes the dump,
//! while the executor polls the tasks that are waited for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::{report::Report, watch::Watch};

/// The name of the thread, of at most 15 bytes.
const THREAD: &str = "rtops-leaktest";

/// A future that becomes ready with the result of a check.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waker: Option<Waker>,
    /// `Err` if the check itself panicked.
    result: Option<thread::Result<Result<(), Report>>>,
}

impl Waiting {
    /// Begins to wait. If nothing is left already, no thread is started.
    pub(crate) fn begin(watch: Watch) -> Self {
        let shared = Arc::new(Shared::default());
        if watch.is_clean() {
            shared.finish(Ok(Ok(())));
            return Self(shared);
        }
        let theirs = Arc::clone(&shared);
        let wait = move || {
            let is_wanted = || Arc::strong_count(&theirs) > 1;
            let result = catch_unwind(AssertUnwindSafe(|| watch.wait_while(is_wanted)));
            theirs.finish(result);
        };
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(wait);
        if let Err(error) = thread {
            shared.finish(Ok(Err(Report::of_failure(&error))));
        }
        Self(shared)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, result: thread::Result<Result<(), Report>>) {
        let mut state = self.lock();
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Waiting {
    type Output = Result<(), Report>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.result.take() {
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => {
                drop(state);
                resume_unwind(panic)
            }
        }
    }
}
