//! Tasks of our own making, of which we know what a copy must show.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::Refusal;

/// How many there are. A runtime of one thread keeps its tasks in four lists, so that one of these has
/// a neighbour on either side.
pub(crate) const COUNT: usize = 9;

/// A task as it is known without a look at its memory. Copied into the copy as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Canary {
    /// Where its wakers point to, which is its header.
    pub(crate) header: usize,
    /// tokio's number of it.
    pub(crate) id: u64,
}

/// The tasks, alive and idle as long as this lives. They are polled by this thread only.
pub(crate) struct Canaries {
    /// In the order in which they were spawned.
    pub(crate) all: [Canary; COUNT],
    /// The vtable of their wakers, one for all of this copy of tokio.
    pub(crate) waker_vtable: usize,
    /// How often all together were polled.
    pub(crate) polls: Arc<AtomicU64>,
    /// Whoever joins a task has a part in its count of references.
    _joins: Vec<JoinHandle<()>>,
    /// Dropped last.
    _runtime: Runtime,
}

impl Canaries {
    /// Makes a runtime without drivers, and spawns them on it.
    pub(crate) fn new() -> Result<Self, Refusal> {
        let runtime = Builder::new_current_thread()
            .build()
            .map_err(Refusal::NoRuntime)?;
        let polls = Arc::new(AtomicU64::new(0));
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let joins: Vec<_> = (0..COUNT)
            .map(|_| runtime.spawn(canary(Arc::clone(&polls), Arc::clone(&wakers))))
            .collect();
        // As many turns as there are tasks are enough for each of them to be polled once.
        runtime.block_on(async {
            while wakers.lock().unwrap_or_else(PoisonError::into_inner).len() < COUNT {
                tokio::task::yield_now().await;
            }
        });
        let wakers = wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = [Canary::default(); COUNT];
        let mut waker_vtable = 0;
        for (place, join) in all.iter_mut().zip(&joins) {
            let id = join.id().to_string().parse().unwrap_or(0);
            let waker = wakers
                .iter()
                .find(|(own, _)| *own == id)
                .map(|(_, waker)| waker);
            let waker = waker.ok_or(Refusal::UnknownLayout("a task has another number inside"))?;
            *place = Canary {
                header: waker.data().addr(),
                id,
            };
            waker_vtable = std::ptr::from_ref(waker.vtable()).addr();
        }
        drop(wakers);
        Ok(Self {
            all,
            waker_vtable,
            polls,
            _joins: joins,
            _runtime: runtime,
        })
    }
}

/// Waits for ever, with one waker: that which it put on the list.
async fn canary(polls: Arc<AtomicU64>, wakers: Arc<Mutex<Vec<(u64, Waker)>>>) {
    let mut registered = false;
    poll_fn(move |context| {
        polls.fetch_add(1, Relaxed);
        if !registered {
            registered = true;
            let id = tokio::task::id().to_string().parse().unwrap_or(0);
            let mut wakers = wakers.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.push((id, context.waker().clone()));
        } else {
            drop(context.waker().clone());
        }
        Poll::<()>::Pending
    })
    .await;
}
