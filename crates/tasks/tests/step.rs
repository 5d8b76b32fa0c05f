//! Stepped polls of real futures on a real executor. They are polls like any other: what is known of a
//! future stays right, and who waits is woken as before.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    future::{Future, pending, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::SeqCst},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_step::{End, Trace};
use rtops_tasks::{
    Kind, NotStepped, Plan, Probed, ProbedState, Stepped, Track, Wakers, probe, step,
};
use tokio::sync::oneshot;

use common::{NoCopies, polled, runtime, soon, wait_until};

/// What a dump with stepped polls says of the futures of one name, before and after they were stepped.
struct Found {
    before: Vec<(ProbedState, Wakers)>,
    after: Vec<Probed>,
    traces: Vec<Trace>,
    not_stepped: Vec<NotStepped>,
}

fn dump(name: &str) -> Found {
    let mut found = probe(Plan::all(soon()), &mut NoCopies).tasks;
    let is_named = |found: &[Probed], index: &usize| {
        found
            .get(*index)
            .is_some_and(|task| task.entry.name() == Some(name))
    };
    let chosen: Vec<usize> = (0..found.len()).filter(|i| is_named(&found, i)).collect();
    let before = chosen.iter().map(|index| {
        let task = &found[*index];
        (task.state, task.wakers)
    });
    let before = before.collect();
    let Stepped {
        traces,
        not_stepped,
    } = step(&mut found, &chosen, soon());
    assert!(traces.iter().all(|(index, _)| chosen.contains(index)));
    Found {
        before,
        after: found
            .into_iter()
            .filter(|task| task.entry.name() == Some(name))
            .collect(),
        traces: traces.into_iter().map(|(_, trace)| trace).collect(),
        not_stepped: not_stepped.into_iter().map(|(_, why)| why).collect(),
    }
}

impl Found {
    /// The state and wakers of the one future, which was stepped to the end of its poll.
    #[track_caller]
    fn the_one(&self) -> (ProbedState, Wakers) {
        let [task] = &self.after[..] else {
            panic!("{:?}", self.after);
        };
        assert_eq!(self.not_stepped, []);
        let [trace] = &self.traces[..] else {
            panic!("{:?}", self.traces);
        };
        assert_eq!(trace.end, End::Whole);
        assert!(trace.visits.len() > 10, "{trace:?}");
        (task.state, task.wakers)
    }
}

/// A dump polls all tasks of the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns a future under a name, and waits until it waits.
fn spawn<F>(runtime: &tokio::runtime::Runtime, name: &'static str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (is_polled, future) = polled(future);
    drop(runtime.spawn(future.tracked(name)));
    wait_until("it was polled", || is_polled.load(SeqCst));
}

const PROVEN: (ProbedState, Wakers) = (ProbedState::Probed, Wakers::None);

#[test]
fn a_proven_leak_stays_one() {
    let _alone = alone();
    let runtime = runtime();
    spawn(&runtime, "pending", pending());
    let loses = poll_fn(|context| {
        drop(context.waker().clone());
        Poll::Pending
    });
    spawn(&runtime, "loses its waker", loses);
    for name in ["pending", "loses its waker"] {
        for _ in 0..3 {
            let found = dump(name);
            assert_eq!(found.before, [PROVEN], "{name}");
            assert_eq!(found.the_one(), PROVEN, "{name}");
        }
    }
}

#[test]
fn a_stepped_poll_is_none_of_the_tasks_own() {
    let _alone = alone();
    let runtime = runtime();
    spawn(&runtime, "old", pending());
    let entry = Arc::clone(&dump("old").after[0].entry);
    let polls = entry.polls();
    let least = Duration::from_millis(50);
    wait_until("it is old", || entry.in_state_for() > least);
    dump("old").the_one();
    assert_eq!(entry.polls(), polls);
    assert!(entry.in_state_for() > least);
}

#[test]
fn a_task_that_waits_is_still_woken() {
    let _alone = alone();
    let runtime = runtime();
    let (sender, receiver) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let waits = async move {
        receiver.await.unwrap();
        done.send(()).unwrap();
    };
    spawn(&runtime, "waits", waits);
    let found = dump("waits");
    assert!(matches!(
        found.before[..],
        [(ProbedState::Probed, Wakers::Held(_))]
    ));
    assert!(matches!(
        found.the_one(),
        (ProbedState::Probed, Wakers::Held(_))
    ));
    sender.send(()).unwrap();
    runtime.block_on(is_done).unwrap();
}

#[test]
fn wakers_that_are_lost_after_a_stepped_poll_are_noticed() {
    let _alone = alone();
    let runtime = runtime();
    let kept = Arc::new(Mutex::new(None::<Waker>));
    let keep = Arc::clone(&kept);
    let keeps = poll_fn(move |context| {
        *keep.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    });
    spawn(&runtime, "keeps", keeps);
    assert!(matches!(dump("keeps").the_one().1, Wakers::Held(_)));
    assert!(!dump("keeps").after[0].lost_wakers);
    *kept.lock().unwrap() = None;
    let found = dump("keeps");
    assert!(found.after[0].lost_wakers);
}

#[test]
fn a_task_that_ends_in_its_stepped_poll_has_ended() {
    let _alone = alone();
    let runtime = runtime();
    let polls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&polls);
    // Its own poll, the dump's, and the one that is stepped.
    let ends = poll_fn(move |_| {
        let mut polls = count.lock().unwrap();
        *polls += 1;
        if *polls < 3 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    spawn(&runtime, "ends", ends);
    let found = dump("ends");
    assert_eq!(found.before, [PROVEN]);
    assert_eq!(found.the_one().0, ProbedState::Ended);
    wait_until("it is gone", || dump("ends").after.is_empty());
}

#[test]
fn a_panic_ends_the_task_alone() {
    let _alone = alone();
    let runtime = runtime();
    let polls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&polls);
    let panics = poll_fn(move |_| {
        let mut polls = count.lock().unwrap();
        *polls += 1;
        if *polls < 3 {
            return Poll::Pending;
        }
        drop(polls);
        std::panic::resume_unwind(Box::new("on purpose"))
    });
    spawn(&runtime, "panics", panics);
    spawn(&runtime, "beside", pending());
    let found = dump("panics");
    assert_eq!((found.traces.len(), found.not_stepped.len()), (1, 0));
    wait_until("it is gone", || dump("panics").after.is_empty());
    assert_eq!(dump("beside").the_one(), PROVEN);
}

#[test]
fn a_poll_that_is_too_long_is_cut_and_goes_on() {
    let _alone = alone();
    let runtime = runtime();
    let spins = poll_fn(|_| {
        for round in 0..50_000 {
            std::hint::black_box(round);
        }
        Poll::Pending
    });
    spawn(&runtime, "spins", spins);
    let found = dump("spins");
    assert_eq!((found.after[0].state, found.after[0].wakers), PROVEN);
    assert_eq!(found.traces[0].end, End::TooLong);
}

#[test]
fn children_of_a_container_are_stepped_through_their_own_wakers() {
    let _alone = alone();
    let runtime = runtime();
    let container = async {
        let children = (0..3).map(|_| pending::<()>().tracked("child"));
        let mut children: FuturesUnordered<_> = children.collect();
        while children.next().await.is_some() {}
    };
    spawn(&runtime, "container", container);
    let parent = Arc::clone(&dump("container").after[0].entry);
    let polls = parent.polls();
    let least = Duration::from_millis(50);
    wait_until("it is old", || parent.in_state_for() > least);
    let found = dump("child");
    // To wake a child is to wake its parent as well.
    assert_eq!(parent.polls(), polls);
    wait_until("its poll is over", || parent.polled_by().is_none());
    assert!(parent.in_state_for() > least);
    assert_eq!(found.before, [PROVEN; 3]);
    assert_eq!((found.traces.len(), found.not_stepped.len()), (3, 0));
    for child in &found.after {
        assert_eq!(child.entry.kind(), Kind::Span);
        assert_eq!((child.state, child.wakers), PROVEN);
    }
}

#[test]
fn a_span_is_a_part_of_its_tasks_poll() {
    let _alone = alone();
    let runtime = runtime();
    let (_sender, receiver) = oneshot::channel::<()>();
    let around = async {
        tokio::join!(
            async { receiver.await.unwrap() }.tracked("lives"),
            pending::<()>().tracked("silent")
        );
    };
    spawn(&runtime, "around", around);
    let found = probe(Plan::all(soon()), &mut NoCopies).tasks;
    for (name, is_inside) in [("around", false), ("lives", true), ("silent", true)] {
        let task = found.iter().find(|task| task.entry.name() == Some(name));
        assert_eq!(task.unwrap().is_inside, is_inside, "{name}");
    }
    // Both at once: the span's own poll is in the trace of the task.
    let mut found = found;
    let all: Vec<usize> = (0..found.len()).collect();
    let stepped = step(&mut found, &all, soon());
    assert_eq!((stepped.traces.len(), stepped.not_stepped.len()), (1, 0));
}

#[test]
fn many_are_stepped_one_after_the_other() {
    let _alone = alone();
    let runtime = runtime();
    for _ in 0..50 {
        spawn(&runtime, "many", pending());
    }
    let found = dump("many");
    assert_eq!((found.traces.len(), found.not_stepped.len()), (50, 0));
    assert!(found.traces.iter().all(|trace| trace.end == End::Whole));
}

#[test]
fn without_time_nothing_is_asked_for() {
    let _alone = alone();
    let runtime = runtime();
    spawn(&runtime, "late", pending());
    let mut found = probe(Plan::all(soon()), &mut NoCopies).tasks;
    let is_late = |task: &Probed| task.entry.name() == Some("late");
    let index = found.iter().position(is_late).unwrap();
    let past = Instant::now();
    let stepped = step(&mut found, &[index], past);
    assert!(stepped.traces.len() <= 1);
    assert_eq!((found[index].state, found[index].wakers), PROVEN);
}
