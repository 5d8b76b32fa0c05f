//! Futures that are polled on coroutines with separate stacks, as on the fibers of wasmtime.
#![expect(
    unsafe_code,
    reason = "a coroutine borrows the context of each poll, and moves between threads"
)]

mod stack;
mod suspended;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use corosensei::{Coroutine, CoroutineResult, stack::Stack};
use nix::libc;
use rtops_agent::Track;
use tokio::{
    runtime::Builder,
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::interval,
};

use self::stack::{Heap, Lent, Mapped};
pub(crate) use self::suspended::run as run_suspended;
use crate::{
    Never,
    control::Control,
    failed,
    filter::filter,
    settle::{Pending, settled, settlement},
};

static TICKS: AtomicU64 = AtomicU64::new(0);

/// Polls a future on a coroutine's stack, where it stays from poll to poll.
struct OnFiber<S: Stack>(Coroutine<Borrowed, (), (), S>);

/// The context of a poll. It outlives the resumption that it is lent to.
struct Borrowed(*mut Context<'static>);

impl<S: Stack + 'static> OnFiber<S> {
    fn new(stack: S, future: impl Future<Output = ()> + 'static) -> Self {
        Self(Coroutine::with_stack(stack, |yielder, first| {
            let mut future = pin!(future);
            let mut lent: Borrowed = first;
            loop {
                // SAFETY: whoever resumes the coroutine lends it the context until it is suspended.
                let context = unsafe { &mut *lent.0 };
                if future.as_mut().poll(context).is_ready() {
                    return;
                }
                lent = yielder.suspend(());
            }
        }))
    }
}

impl<S: Stack + Unpin> Future for OnFiber<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let context = std::ptr::from_mut(context).cast();
        match self.0.resume(Borrowed(context)) {
            CoroutineResult::Yield(()) => Poll::Pending,
            CoroutineResult::Return(()) => Poll::Ready(()),
        }
    }
}

/// On the main thread and on another one, and on each kind of stack, tasks are tracked outside the
/// coroutine, inside it, or both, in two coroutines. One more task runs on no coroutine.
///
/// `filtered`: a filter of system calls kills the process if it has the kernel read its memory.
pub(crate) fn run(control: Control, kind: Option<&str>) -> Result<Never, String> {
    if kind == Some("filtered") {
        let end = libc::SECCOMP_RET_KILL_PROCESS;
        filter(libc::SYS_process_vm_readv, end).map_err(|error| error.to_string())?;
    }
    let (pending, all_wait) = settlement();
    let other = pending.clone();
    thread::spawn(move || poll_on_this_thread("thread", other));
    thread::spawn(move || {
        all_wait.wait();
        let served = control.serve(|| TICKS.load(Relaxed));
        served.map_err(|error| failed(&error))
    });
    poll_on_this_thread("main", pending)
}

fn poll_on_this_thread(thread: &str, pending: Pending) -> Result<Never, String> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    // Parts of this thread's own stack, used until the process ends: nothing below returns.
    let mut blocks = [[0_u8; stack::SIZE]; 4];
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let [outside, inside, outer, inner] = &mut blocks;
        // SAFETY: this function does not return, so the blocks are never used for anything else.
        let lent = unsafe { [outside, inside, outer, inner].map(|block| Lent::new(block)) };
        spawn_each(thread, "own", lent, &pending);
        spawn_each(thread, "mapped", [(); 4].map(|()| Mapped::new()), &pending);
        spawn_each(
            thread,
            "below",
            [(); 4].map(|()| Mapped::below_main()),
            &pending,
        );
        spawn_each(thread, "heap", [(); 4].map(|()| Heap::new()), &pending);
        let plain = waits_plainly().tracked(format!("{thread} plain"));
        spawn_local(settled(plain, pending));
        spawn_local(ticks());
        std::future::pending().await
    })
}

fn spawn_each<S: Stack + Unpin + 'static>(
    thread: &str,
    kind: &str,
    stacks: [S; 4],
    pending: &Pending,
) {
    let [outside, inside, outer, inner] = stacks;
    let name = |tracked: &str| format!("{thread} {kind} {tracked}");
    let task = OnFiber::new(outside, waits()).tracked(name("outside"));
    spawn_local(settled(task, pending.clone()));
    let task = OnFiber::new(inside, waits().tracked(name("inside")));
    spawn_local(settled(task, pending.clone()));
    let nested = OnFiber::new(inner, waits()).tracked(name("inner"));
    let task = OnFiber::new(outer, nested).tracked(name("outer"));
    spawn_local(settled(task, pending.clone()));
}

async fn waits() {
    Notify::new().notified().await; // AWAIT fibers
}

async fn waits_plainly() {
    Notify::new().notified().await; // AWAIT plain
}

async fn ticks() {
    let mut interval = interval(Duration::from_millis(1));
    loop {
        interval.tick().await;
        TICKS.fetch_add(1, Relaxed);
    }
}
