//! Hand-written futures, and futures that nothing can wake.

use std::{
    future::{Future, pending},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("hand-written", async {
        KeepsWaker(None).await; // AWAIT hand-written
    });
    tasks.spawn("lost-waker", async {
        LosesWaker.await; // AWAIT lost-waker
    });
    // It registers no waker, so nothing shows where it waits.
    tasks.spawn("pending", pending());
}

/// Waits with a registered waker.
struct KeepsWaker(Option<Waker>);

impl Future for KeepsWaker {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0 = Some(context.waker().clone()); // AWAIT hand-written
        Poll::Pending // MAYBE hand-written
    } // MAYBE hand-written
}

/// Waits after dropping its waker: a bug that keeps its task forever.
struct LosesWaker;

impl Future for LosesWaker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        drop(context.waker().clone()); // AWAIT lost-waker
        Poll::Pending // MAYBE lost-waker
    } // MAYBE lost-waker
}
