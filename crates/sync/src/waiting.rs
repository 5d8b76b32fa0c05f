//! A future that is recorded as waiting from its first `Pending` on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::ledger::Waiter;

pin_project! {
    /// Waits with the inner future. However often it is polled, it is the same waiter, with the
    /// same start. When it is ready or dropped, it is no longer a waiter.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Waiting<'a, F, W, D> {
        #[pin]
        inner: F,
        wait: W,
        done: D,
        waiter: Option<Waiter<'a>>,
    }
}

impl<'a, F, W, D> Waiting<'a, F, W, D> {
    /// Takes the inner future, a function that makes a waiter for the current task, and one
    /// that converts the output.
    pub(crate) const fn new(inner: F, wait: W, done: D) -> Self {
        Self {
            inner,
            wait,
            done,
            waiter: None,
        }
    }
}

impl<'a, F, W, D, O> Future for Waiting<'a, F, W, D>
where
    F: Future,
    W: Fn() -> Waiter<'a>,
    D: Fn(F::Output) -> O,
{
    type Output = O;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        let this = self.project();
        match this.inner.poll(context) {
            Poll::Ready(output) => {
                *this.waiter = None;
                Poll::Ready((this.done)(output))
            }
            Poll::Pending => {
                this.waiter.get_or_insert_with(&*this.wait);
                Poll::Pending
            }
        }
    }
}
