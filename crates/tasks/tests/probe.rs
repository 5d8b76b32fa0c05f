//! Probes of real futures on real executors, in this process.
//!
//! `probe` sees every tracked future of the process, so each test finds its own by name.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a global allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::HashMap,
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_tasks::{
    Entry, Kind, Plan, Probed, ProbedState, Sink, StackCopy, Track, Wakers, probe, track_blocking,
};
use rtops_unwind::{Outcome, Unwinder};
use tokio::sync::{Notify, oneshot};

use common::{polled, runtime, soon, wait_until};

thread_local! {
    /// Counts the allocations of this thread while it is `Some`.
    static ALLOCATIONS: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get().map(|count| count + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Unwinds the copies.
#[derive(Default)]
struct Collected {
    unwinder: Unwinder,
    stacks: HashMap<usize, Vec<Vec<u64>>>,
}

impl Sink for Collected {
    fn copied(&mut self, copy: &StackCopy<'_>) {
        self.unwinder.refresh();
        for owner in copy.owners {
            let mut stack = Vec::new();
            let outcome = self.unwinder.unwind(&copy.stack, owner.base, &mut stack);
            // Another test's task has a stack that is too large for the first round.
            let reaches_root = outcome == Outcome::Base || copy.truncated;
            assert!(reaches_root, "{outcome:?}");
            self.stacks.entry(owner.index).or_default().push(stack);
        }
    }

    fn discard(&mut self, index: usize) {
        self.stacks.remove(&index);
    }
}

/// What a dump says about a future.
#[derive(Debug)]
struct Found {
    entry: Arc<Entry>,
    state: ProbedState,
    /// As of the dump. The entry also shows the probe of another test.
    in_state_for: Duration,
    wakers: Wakers,
    stacks: Vec<Vec<u64>>,
}

/// Dumps, and returns all futures with this name.
fn dump(name: &str) -> Vec<Found> {
    let mut collected = Collected::default();
    let probed: Vec<Probed> = probe(Plan::all(soon()), &mut collected).tasks;
    probed
        .into_iter()
        .enumerate()
        .filter(|(_, task)| task.entry.name() == Some(name))
        .map(|(index, task)| Found {
            entry: task.entry,
            state: task.state,
            in_state_for: task.in_state_for,
            wakers: task.wakers,
            stacks: collected.stacks.remove(&index).unwrap_or_default(),
        })
        .collect()
}

fn the_one(name: &str) -> Found {
    let mut found = dump(name);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found.remove(0)
}

#[test]
fn every_dump_in_a_row_finds_the_same_stack() {
    dump_in_a_row(&runtime(), "in a row");
}

fn dump_in_a_row(runtime: &tokio::runtime::Runtime, name: &'static str) {
    let notify = Arc::new(Notify::new());
    let waiting = Arc::clone(&notify);
    let (ready, future) = polled(async move { waiting.notified().await });
    let task = runtime.spawn(future.tracked(name));
    wait_until("the task waits", || ready.load(SeqCst));
    let first = the_one(name);
    assert_eq!(first.state, ProbedState::Probed);
    assert_eq!(first.wakers, Wakers::Held(1));
    assert_eq!(first.stacks.len(), 1);
    // More dumps than there are vtables, as a leaf that sees an equal waker does not clone it.
    for _ in 0..20 {
        assert_eq!(the_one(name).stacks, first.stacks);
    }
    // The waker that the leaf has kept is a probing one by now, and leads to the executor.
    notify.notify_one();
    runtime.block_on(task).unwrap();
    assert!(dump(name).is_empty());
}

#[test]
fn a_probe_does_not_make_a_task_younger() {
    let runtime = runtime();
    let (ready, future) = polled(pending::<()>());
    let _task = runtime.spawn(future.tracked("old"));
    wait_until("the task waits", || ready.load(SeqCst));
    let entry = the_one("old").entry;
    let least = Duration::from_millis(50);
    wait_until("it is old", || entry.in_state_for() > least);
    let polls = entry.polls();
    let found = the_one("old");
    assert_eq!(found.state, ProbedState::Probed);
    assert!(found.in_state_for > least);
    assert_eq!(entry.polls(), polls, "probes are not counted as polls");
}

#[test]
fn a_task_without_a_waker_is_proven() {
    let runtime = runtime();
    let (ready, future) = polled(pending::<()>());
    let _task = runtime.spawn(future.tracked("lost"));
    wait_until("the task waits", || ready.load(SeqCst));
    let found = the_one("lost");
    assert_eq!(found.wakers, Wakers::None);
    assert!(found.stacks.is_empty());
}

#[test]
fn a_registration_that_is_dropped_later_is_noticed() {
    let runtime = runtime();
    let registered: Arc<Mutex<Option<Waker>>> = Arc::default();
    let slot = Arc::clone(&registered);
    let future = poll_fn(move |context| {
        *slot.lock().unwrap() = Some(context.waker().clone());
        Poll::<()>::Pending
    });
    let _task = runtime.spawn(future.tracked("dropped later"));
    wait_until("the task waits", || registered.lock().unwrap().is_some());
    assert_eq!(the_one("dropped later").wakers, Wakers::Held(1));
}

#[test]
fn a_future_that_wakes_itself_is_caught_where_it_yields() {
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (ready, future) = polled(poll_fn(move |context| {
        if stopped.load(SeqCst) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }));
    let task = runtime.spawn(future.tracked("yields"));
    wait_until("it was polled", || ready.load(SeqCst));
    let found = the_one("yields");
    assert_eq!(found.state, ProbedState::Probed);
    assert_eq!(found.stacks.len(), 1);
    stop.store(true, SeqCst);
    runtime.block_on(task).unwrap();
}

#[test]
fn spans_share_the_copy_of_their_task_and_know_their_parent() {
    let runtime = runtime();
    let inner = async {
        futures::join!(
            pending_forever_on(Arc::new(Notify::new())).tracked("left"),
            pending_forever_on(Arc::new(Notify::new())).tracked("right"),
        )
    };
    let (ready, future) = polled(inner);
    let _task = runtime.spawn(future.tracked("both"));
    wait_until("the task waits", || ready.load(SeqCst));
    let task = the_one("both");
    assert_eq!(task.entry.kind(), Kind::Task);
    assert_eq!(task.stacks.len(), 2);
    for name in ["left", "right"] {
        let span = the_one(name);
        assert_eq!(span.entry.kind(), Kind::Span);
        assert_eq!(span.entry.parent(), task.entry.id());
        assert_eq!(span.stacks.len(), 1);
    }
}

async fn pending_forever_on(notify: Arc<Notify>) {
    notify.notified().await;
}

#[test]
fn children_of_a_container_are_probed_through_their_own_wakers() {
    let runtime = runtime();
    let container = async {
        let mut all: FuturesUnordered<_> = (0..5)
            .map(|_| pending_forever_on(Arc::new(Notify::new())).tracked("child"))
            .collect();
        while all.next().await.is_some() {}
    };
    let (ready, future) = polled(container);
    let _task = runtime.spawn(future.tracked("container"));
    wait_until("the task waits", || ready.load(SeqCst));
    let parent = the_one("container").entry;
    let polls = parent.polls();
    let least = Duration::from_millis(50);
    wait_until("it is old", || parent.in_state_for() > least);
    let children = dump("child");
    // Waking a child wakes its parent as well.
    assert_eq!(parent.polls(), polls);
    assert!(the_one("container").in_state_for > least);
    assert_eq!(children.len(), 5);
    for child in children {
        assert_eq!(child.state, ProbedState::Probed);
        assert_eq!(child.stacks.len(), 1);
    }
}

#[test]
fn a_span_that_its_task_does_not_poll_is_not_called_starved() {
    let runtime = runtime();
    let mut span = Box::pin(pending_forever_on(Arc::new(Notify::new())).tracked("put aside"));
    let mut is_first = true;
    let future = poll_fn(move |context| {
        if std::mem::take(&mut is_first) {
            return span.as_mut().poll(context);
        }
        // Still held, and not polled again.
        assert!(span.entry().polls() == 1);
        Poll::Pending
    });
    let (ready, future) = polled(future);
    let _task = runtime.spawn(future.tracked("puts aside"));
    wait_until("the task waits", || ready.load(SeqCst));
    let span = the_one("put aside");
    assert_eq!(span.state, ProbedState::NotPolled);
    assert_eq!(span.wakers, Wakers::NotKnown);
}

#[test]
fn a_blocked_worker_delays_nobody_elses_stack() {
    let runtime = runtime();
    let (release, blocked) = mpsc::channel::<()>();
    let (started, is_started) = oneshot::channel();
    let blocking = async move {
        started.send(()).ok();
        blocked.recv().unwrap();
    };
    let task = runtime.spawn(blocking.tracked("blocked"));
    runtime.block_on(is_started).unwrap();
    let waits: Vec<_> = (0..100)
        .map(|_| polled(pending_forever_on(Arc::new(Notify::new()))))
        .map(|(ready, future)| {
            drop(runtime.spawn(future.tracked("beside")));
            ready
        })
        .collect();
    for ready in waits {
        wait_until("the task waits", || ready.load(SeqCst));
    }
    let beside = dump("beside");
    assert_eq!(beside.len(), 100);
    assert!(beside.iter().all(|found| found.stacks.len() == 1));
    assert!(matches!(the_one("blocked").state, ProbedState::Running(_)));
    release.send(()).unwrap();
    runtime.block_on(task).unwrap();
}

#[test]
fn a_panic_in_a_probed_poll_ends_the_task_alone() {
    let runtime = runtime();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let future = poll_fn(move |_| {
        assert!(counted.fetch_add(1, SeqCst) == 0, "this panic is wanted");
        Poll::<()>::Pending
    });
    let task = runtime.spawn(future.tracked("panics"));
    wait_until("the task waits", || polls.load(SeqCst) >= 1);
    // Another test's dump may have made the probe. Either way, the task is gone in the end.
    drop(dump("panics"));
    assert!(runtime.block_on(task).unwrap_err().is_panic());
    assert!(dump("panics").is_empty());
    // The worker's list of probes is empty again.
    dump_in_a_row(&runtime, "after a panic");
}

#[test]
fn a_blocking_closure_is_queued_and_then_runs() {
    let (release, blocked) = mpsc::channel::<()>();
    let site = std::panic::Location::caller();
    let closure = track_blocking(
        move || blocked.recv().unwrap(),
        Some("closure".into()),
        site,
    );
    assert_eq!(the_one("closure").state, ProbedState::New);
    let thread = std::thread::spawn(closure);
    wait_until("it runs", || {
        matches!(the_one("closure").state, ProbedState::Running(_))
    });
    release.send(()).unwrap();
    thread.join().unwrap();
    assert!(dump("closure").is_empty());
}

/// Clones its waker and counts the allocations in that.
struct CountsAllocations(Arc<AtomicUsize>, Option<Waker>);

impl Future for CountsAllocations {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        ALLOCATIONS.set(Some(0));
        let waker = context.waker().clone();
        let allocations = ALLOCATIONS.take().unwrap();
        self.1 = Some(waker);
        self.0.fetch_add(allocations, SeqCst);
        Poll::Pending
    }
}

#[test]
fn a_clone_under_a_probe_allocates_nothing() {
    let runtime = runtime();
    let allocations = Arc::new(AtomicUsize::new(0));
    let (ready, future) = polled(CountsAllocations(Arc::clone(&allocations), None));
    let _task = runtime.spawn(future.tracked("frugal"));
    wait_until("the task waits", || ready.load(SeqCst));
    assert_eq!(the_one("frugal").stacks.len(), 1);
    assert_eq!(allocations.load(SeqCst), 0);
}

/// Has a large frame, so that its stack does not fit in an ordinary place.
#[inline(never)]
fn poll_deep(context: &mut Context<'_>) -> Poll<()> {
    let large = std::hint::black_box([1_u8; 200 << 10]);
    let waker = context.waker().clone();
    KEPT.lock().unwrap().replace(waker);
    std::hint::black_box(&large);
    Poll::Pending
}

static KEPT: Mutex<Option<Waker>> = Mutex::new(None);

#[test]
fn a_stack_that_is_too_large_at_first_is_copied_whole_in_the_end() {
    let runtime = runtime();
    let (ready, future) = polled(poll_fn(poll_deep));
    let _task = runtime.spawn(future.tracked("deep"));
    wait_until("the task waits", || ready.load(SeqCst));
    let mut sizes = Sizes::default();
    let probed = probe(Plan::all(soon()), &mut sizes).tasks;
    let index = probed
        .iter()
        .position(|task| task.entry.name() == Some("deep"))
        .unwrap();
    assert_eq!(sizes.0.remove(&index).unwrap(), [(true, 64 << 10)]);
    let large = sizes.1.remove(&index).unwrap();
    assert!(!large[0].0 && large[0].1 > 200 << 10, "{large:?}");
}

/// The truncation and size of copies, before and after the last discard.
#[derive(Default)]
struct Sizes(
    HashMap<usize, Vec<(bool, usize)>>,
    HashMap<usize, Vec<(bool, usize)>>,
);

impl Sink for Sizes {
    fn copied(&mut self, copy: &StackCopy<'_>) {
        for owner in copy.owners {
            let sizes = self.1.entry(owner.index).or_default();
            sizes.push((copy.truncated, copy.stack.bytes.len()));
        }
    }

    fn discard(&mut self, index: usize) {
        let before = self.1.remove(&index).unwrap_or_default();
        self.0.insert(index, before);
    }
}

#[test]
fn what_the_deadline_leaves_out_is_said() {
    let runtime = runtime();
    let waits: Vec<_> = (0..1000)
        .map(|_| polled(pending_forever_on(Arc::new(Notify::new()))))
        .map(|(ready, future)| {
            drop(runtime.spawn(future.tracked("one of many")));
            ready
        })
        .collect();
    for ready in waits {
        wait_until("the task waits", || ready.load(SeqCst));
    }
    // One window of tasks is asked in any case.
    let findings = probe(Plan::all(Instant::now()), &mut Collected::default());
    assert!(
        findings.shortfall.not_asked >= 500,
        "{:?}",
        findings.shortfall
    );
    let all = dump("one of many");
    assert_eq!(all.len(), 1000);
    assert!(all.iter().all(|found| found.stacks.len() == 1));
}

#[test]
fn a_future_that_waits_in_too_many_places_is_said_to() {
    let runtime = runtime();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let kept = Arc::clone(&wakers);
    let many = poll_fn(move |context| {
        let mut kept = kept.lock().unwrap();
        kept.clear();
        kept.extend((0..100).map(|_| context.waker().clone()));
        Poll::<()>::Pending
    });
    let (ready, future) = polled(many);
    let _task = runtime.spawn(future.tracked("many places"));
    wait_until("the task waits", || ready.load(SeqCst));
    let findings = probe(Plan::all(soon()), &mut Collected::default());
    assert_eq!(findings.shortfall.cut_short, 1);
    assert_eq!(the_one("many places").wakers, Wakers::Held(100));
}

/// Polls by hand with one waker and then another.
#[test]
fn the_waker_of_the_latest_poll_is_the_one_that_is_woken() {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }
    let flags = [0, 1].map(|_| Arc::new(Flag(AtomicBool::new(false))));
    let mut future = Box::pin(pending::<()>().tracked("moves"));
    for flag in &flags {
        let waker = Waker::from(Arc::clone(flag));
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    // Nobody polls: the dump gives up on it, having woken only the second waker.
    assert_eq!(the_one("moves").state, ProbedState::Starved);
    assert!(!flags[0].0.load(SeqCst));
    assert!(flags[1].0.load(SeqCst));
}
