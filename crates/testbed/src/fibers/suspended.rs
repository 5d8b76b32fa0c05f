//! Coroutines that are suspended in the middle of a poll, and then continue on another thread, are
//! dropped there, or never continue: `suspended-fibers moved|dropped|forgotten`.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll, Waker},
    thread,
};

use corosensei::{Coroutine, CoroutineResult, Yielder};
use rtops_agent::Track;
use tokio::sync::Notify;

use super::stack::Mapped;
use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

const FIBERS: usize = 4;
/// How many coroutines, suspended in the middle of a poll, have met their fate.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Whether polls are suspended in the middle.
static SUSPENDS: AtomicBool = AtomicBool::new(false);

/// What happens to a coroutine that is suspended in the middle of a poll.
#[derive(Clone, Copy)]
enum Fate {
    Moved,
    Dropped,
    Forgotten,
}

/// Where a coroutine is suspended.
enum Stop {
    /// Between two polls.
    Between,
    /// In the middle of a poll.
    Middle,
}

/// A coroutine that may be resumed on any thread.
struct Fiber(Coroutine<Waker, Stop, (), Mapped>);

// SAFETY: its stack holds a waiting future and its wakers, which may go to other threads.
unsafe impl Send for Fiber {}

/// A task whose future is tracked inside the coroutine that polls it.
#[derive(Clone)]
struct Carried {
    /// Empty while another thread has the coroutine, or forever.
    place: Arc<Mutex<Option<Fiber>>>,
    taken: Sender<(Fiber, Self)>,
}

impl Carried {
    fn place(&self) -> MutexGuard<'_, Option<Fiber>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Carried {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut fiber) = self.place().take() else {
            return Poll::Pending;
        };
        match fiber.0.resume(context.waker().clone()) {
            CoroutineResult::Yield(Stop::Between) => *self.place() = Some(fiber),
            CoroutineResult::Yield(Stop::Middle) => {
                self.taken.send((fiber, Self::clone(&self))).ok();
            }
            CoroutineResult::Return(()) => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

/// Waits with two wakers: one from before it was suspended and one from afterwards.
struct Leaf<'a> {
    yielder: &'a Yielder<Waker, Stop>,
    wakers: Vec<Waker>,
}

impl Future for Leaf<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.wakers = vec![context.waker().clone()];
        if SUSPENDS.load(SeqCst) {
            self.yielder.suspend(Stop::Middle);
            self.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

fn fiber() -> Fiber {
    Fiber(Coroutine::with_stack(Mapped::new(), |yielder, first| {
        let leaf = Leaf {
            yielder,
            wakers: Vec::new(),
        };
        let mut future = pin!(leaf.tracked("suspended"));
        let mut waker: Waker = first;
        while future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            waker = yielder.suspend(Stop::Between);
        }
    }))
}

/// Subjects each coroutine that is suspended in the middle of a poll to its fate.
fn carry(suspended: &Receiver<(Fiber, Carried)>, fate: Fate) {
    for (mut fiber, carried) in suspended {
        match fate {
            Fate::Moved => {
                // The poll already has a waker.
                if let CoroutineResult::Yield(_) = fiber.0.resume(Waker::noop().clone()) {
                    *carried.place() = Some(fiber);
                }
            }
            Fate::Dropped => drop(fiber),
            Fate::Forgotten => {
                // SAFETY: nothing points to the contents of the stack, which is then unmapped.
                unsafe { fiber.0.force_reset() };
                drop(fiber);
            }
        }
        TAKEN.fetch_add(1, SeqCst);
    }
}

pub(crate) fn run(control: Control, fate: Option<&str>) -> Result<Never, String> {
    let fate = match fate {
        Some("moved") => Fate::Moved,
        Some("dropped") => Fate::Dropped,
        Some("forgotten") => Fate::Forgotten,
        _ => return Err("a coroutine is moved, dropped or forgotten".to_owned()),
    };
    // One worker: everything that it polls comes after what was suspended on it.
    let runtime = workers(1)?;
    let (pending, all_wait) = settlement();
    let (taken, suspended) = channel();
    for _ in 0..FIBERS {
        let carried = Carried {
            place: Arc::new(Mutex::new(Some(fiber()))),
            taken: taken.clone(),
        };
        runtime.spawn(settled(carried, pending.clone()));
    }
    let notify = Arc::new(Notify::new());
    for _ in 0..8 {
        let task = waits(Arc::clone(&notify)).tracked("beside");
        runtime.spawn(settled(task, pending.clone()));
    }
    drop(pending);
    all_wait.wait();
    thread::spawn(move || carry(&suspended, fate));
    SUSPENDS.store(true, SeqCst);
    let wake = move || {
        let notify = Arc::clone(&notify);
        // On the worker, where wakers look at what it polls.
        let woken = runtime.spawn(async move { notify.notify_waiters() });
        match runtime.block_on(woken) {
            Ok(()) => "woken".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    control.serve_with(
        || TAKEN.load(SeqCst),
        |command| (command == "wake").then(&wake),
    )
}

async fn waits(notify: Arc<Notify>) {
    loop {
        notify.notified().await; // AWAIT beside-fibers
    }
}
