//! Hand-written futures that lose the waker.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::task::AtomicWaker;
use rtops_agent::Track;
use tokio::time::interval;

use crate::traffic::{TASKS, requests};

/// Checks whether the device is ready, and registers no waker for when it is.
pub(crate) fn never_registered() {
    let device = async {
        Device { is_ready: false }.await; // LEAK waker-never-registered
    };
    tokio::spawn(device.tracked("device"));
}

struct Device {
    is_ready: bool,
}

impl Future for Device {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.is_ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// A slot for one waker, and two tasks that wait.
pub(crate) fn overwritten() {
    let credit = Arc::new(AtomicWaker::new());
    for writer in ["writer 1", "writer 2"] {
        let credit = Arc::clone(&credit);
        let write = async move {
            let credited = poll_fn(|context| {
                credit.register(context.waker());
                Poll::<()>::Pending
            });
            credited.await; // LEAK waker-overwritten
        };
        tokio::spawn(write.tracked(writer));
    }
}

/// Only the first poll registers a waker, and a reload empties the list.
pub(crate) fn registered_once() {
    let waiters = Waiters::default();
    let routes = Routes {
        waiters: waiters.clone(),
        is_registered: false,
    };
    let route = async {
        routes.await; // LEAK waker-registered-once
    };
    tokio::spawn(route.tracked("route"));
    reload_often(waiters);
}

/// The wakers of tasks that wait for new routes.
#[derive(Clone, Default)]
struct Waiters(Arc<Mutex<Vec<Waker>>>);

impl Waiters {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock().expect("nobody panics");
        wakers.push(waker.clone());
    }

    /// Drops the wakers, which it should wake.
    fn forget_all(&self) -> usize {
        let mut wakers = self.0.lock().expect("nobody panics");
        wakers.drain(..).count()
    }
}

struct Routes {
    waiters: Waiters,
    is_registered: bool,
}

impl Future for Routes {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !mem::replace(&mut self.is_registered, true) {
            self.waiters.add(context.waker());
        }
        Poll::Pending
    }
}

/// Wakers are registered as they should be. Now and then a reload drops them without a wake.
pub(crate) fn dropped_later() {
    let waiters = Waiters::default();
    let wait = waiters.clone();
    let subscriber = async move {
        let changed = poll_fn(|context| {
            wait.add(context.waker());
            Poll::<()>::Pending
        });
        changed.await; // LEAK waker-dropped-later
    };
    tokio::spawn(subscriber.tracked("subscriber"));
    reload_often(waiters);
}

/// Returns once a waker was dropped.
fn reload_often(waiters: Waiters) {
    let (dropped, drops) = mpsc::channel();
    let reload = async move {
        let mut due = interval(Duration::from_millis(100));
        loop {
            due.tick().await;
            if waiters.forget_all() > 0 {
                dropped.send(()).ok();
            }
        }
    };
    tokio::spawn(reload.tracked("reload"));
    drops.recv().expect("the task goes on");
}

/// Each call registers with foreign code, which takes the waker and never returns it. That it is
/// lost can't be proven, because it still exists.
pub(crate) fn forgotten() {
    requests(TASKS, |_| {
        rtops_agent::spawn(foreign_call());
    });
}

async fn foreign_call() {
    let called_back = poll_fn(|context| {
        mem::forget(context.waker().clone());
        Poll::<()>::Pending
    });
    called_back.await; // LEAK waker-forgotten
}
