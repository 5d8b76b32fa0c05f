//! Something that is polled in parts, one after the other, is seen as one.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    panic::Location,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use rtops_tasks::{
    Kind, Monotonic, Part, Plan, Probed, ProbedState, Sink, StackCopy, Track, Tracker, probe,
};
use tokio::sync::Notify;

use common::{polled, runtime, soon, wait_until};

/// The number of places that each future waits in.
#[derive(Default)]
struct Counted(HashMap<usize, usize>);

impl Sink for Counted {
    fn copied(&mut self, copy: &StackCopy<'_>) {
        for owner in copy.owners {
            *self.0.entry(owner.index).or_default() += 1;
        }
    }

    fn discard(&mut self, index: usize) {
        self.0.remove(&index);
    }
}

/// Dumps, and returns what it says about the future with this name and the number of
/// places it waits in.
fn dump(name: &str) -> Option<(Probed, usize)> {
    let mut counted = Counted::default();
    let mut found = probe(Plan::all(soon()), &mut counted).tasks.into_iter();
    let (index, task) = found
        .by_ref()
        .enumerate()
        .find(|(_, task)| task.entry.name() == Some(name))?;
    assert!(found.all(|task| task.entry.name() != Some(name)));
    Some((task, counted.0.remove(&index).unwrap_or_default()))
}

fn tracker(name: &'static str) -> Tracker {
    Tracker::new::<()>(Some(name.into()), Kind::Undecided, Location::caller())
}

/// Polls two futures as the parts of one, and awaits `between` after the first.
async fn in_parts(
    mut tracker: Tracker,
    first: impl Future<Output = ()>,
    between: impl Future<Output = ()>,
    last: impl Future<Output = ()>,
) {
    let (mut first, mut last) = (pin!(first), pin!(last));
    poll_fn(|context| tracker.poll_part(first.as_mut(), context, |()| Part::More)).await;
    between.await;
    poll_fn(|context| tracker.poll_part(last.as_mut(), context, |()| Part::Last)).await;
    std::future::pending::<()>().await;
}

#[test]
fn between_its_parts_it_is_held_back_and_at_the_end_of_the_last_gone() {
    let runtime = runtime();
    let [go_on, end] = [(); 2].map(|()| Arc::new(Notify::new()));
    let (asked, ended) = (Arc::clone(&go_on), Arc::clone(&end));
    let (is_polled, last) = polled(async move { ended.notified().await });
    let (is_between, between) = polled(async move { asked.notified().await });
    let parts = in_parts(tracker("in parts"), async {}, between, last);
    drop(runtime.spawn(parts));
    wait_until("the first part has ended", || is_between.load(SeqCst));
    let (task, places) = dump("in parts").unwrap();
    assert_eq!((task.state, places), (ProbedState::HeldBack, 0));
    let polls = task.entry.polls();
    go_on.notify_one();
    wait_until("the last part waits", || is_polled.load(SeqCst));
    let (task, places) = dump("in parts").unwrap();
    assert_eq!((task.state, places), (ProbedState::Probed, 1));
    assert_eq!(task.entry.polls(), polls + 1);
    end.notify_one();
    wait_until("the last part has ended", || task.entry.is_finished());
    assert!(dump("in parts").is_none());
}

/// Waits once, and is ready when polled again, as by a dump. Registers its waker
/// `registrations` times in each poll.
async fn until_polled_again(is_waiting: Arc<AtomicBool>, registrations: usize) {
    poll_fn(|context| {
        let is_second = is_waiting.swap(true, SeqCst);
        let wakers: Vec<_> = (0..registrations)
            .map(|_| context.waker().clone())
            .collect();
        drop(wakers);
        if is_second {
            Poll::Ready(())
        } else {
            // Kept by nobody: only the dump wakes it.
            Poll::Pending
        }
    })
    .await;
}

fn expect_next_part_shown(name: &'static str, registrations: usize) {
    let runtime = runtime();
    let is_waiting = Arc::new(AtomicBool::new(false));
    let first = until_polled_again(Arc::clone(&is_waiting), registrations);
    let never = Arc::new(Notify::new());
    let parts = in_parts(tracker(name), first, async {}, async move {
        never.notified().await;
    });
    drop(runtime.spawn(parts));
    wait_until("the first part waits", || is_waiting.load(SeqCst));
    let (task, places) = dump(name).unwrap();
    assert_eq!((task.state, places), (ProbedState::Probed, 1));
}

#[test]
fn the_next_part_is_shown_where_a_dump_sees_the_end_of_one() {
    expect_next_part_shown("ends when asked", 0);
}

#[test]
fn where_the_part_before_registered_is_not_where_the_next_one_waits() {
    expect_next_part_shown("registers and ends when asked", 3);
}

#[test]
fn what_is_dropped_between_its_parts_is_gone() {
    let runtime = runtime();
    let never = Arc::new(Notify::new());
    let waiting = Arc::clone(&never);
    let (is_between, between) = polled(async move { waiting.notified().await });
    let parts = in_parts(tracker("dropped"), async {}, between, async {});
    let task = runtime.spawn(parts);
    wait_until("the first part has ended", || is_between.load(SeqCst));
    let (found, _) = dump("dropped").unwrap();
    task.abort();
    runtime.block_on(task).unwrap_err();
    assert!(found.entry.is_finished());
    assert!(dump("dropped").is_none());
}

#[test]
fn a_part_inside_a_tracked_task_is_a_span_that_is_seen_with_it() {
    let runtime = runtime();
    let is_waiting = Arc::new(AtomicBool::new(false));
    let first = until_polled_again(Arc::clone(&is_waiting), 0);
    let never = Arc::new(Notify::new());
    let parts = in_parts(tracker("inside"), first, async {}, async move {
        never.notified().await;
    });
    drop(runtime.spawn(parts.tracked("around")));
    wait_until("the first part waits", || is_waiting.load(SeqCst));
    let (task, places) = dump("inside").unwrap();
    assert_eq!((task.state, places), (ProbedState::Probed, 1));
    assert!(task.is_inside);
    assert_eq!(task.entry.kind(), Kind::Span);
}

/// Polls a future twice in each poll, as a connection does with what it serves.
async fn twice_each_time<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending => future.as_mut().poll(context),
        ready => ready,
    })
    .await
}

#[test]
fn a_dump_does_not_make_younger_what_is_polled_twice_in_a_row() {
    let runtime = runtime();
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let (is_polled, inner) = polled(async move {
        waiting.notified().await;
        waiting.notified().await;
    });
    drop(runtime.spawn(twice_each_time(inner.tracked("polled twice"))));
    wait_until("it waits", || is_polled.load(SeqCst));
    let (task, _) = dump("polled twice").unwrap();
    let least = Duration::from_millis(50);
    wait_until("it is old", || task.entry.in_state_for() > least);
    let polls = task.entry.polls();
    for _ in 0..3 {
        let (task, places) = dump("polled twice").unwrap();
        assert_eq!((task.state, places), (ProbedState::Probed, 1));
        assert!(task.in_state_for > least);
    }
    assert!(task.entry.in_state_for() > least);
    assert_eq!(task.entry.polls(), polls, "nothing but dumps polled it");
    // It moves on, to another wait.
    let before = Monotonic::now();
    go_on.notify_one();
    wait_until("it was polled", || {
        task.entry.in_state_for() < Monotonic::now().since(before)
    });
    assert!(task.entry.polls() > polls);
}
