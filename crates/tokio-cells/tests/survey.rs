//! Tasks of this process, found and polled in a copy of it.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    future::{pending, poll_fn},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt};
use rtops_threads::Signal;
use rtops_tokio_cells::{Cell, CellState, Observer, Outcome, Plan, StackCopy, Survey, Wanted};
use rtops_unwind::{Registers, StackSlice, Unwinder};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

/// Numbers stacks.
struct Stacks {
    unwinder: Unwinder,
    known: HashMap<Vec<u64>, u32>,
}

impl Observer for Stacks {
    fn marks(&self) -> Vec<usize> {
        Vec::new()
    }

    fn is_tracked(&mut self, _: usize) -> bool {
        false
    }

    fn unwind(&mut self, copy: &StackCopy<'_>) -> Option<u32> {
        let slice = StackSlice {
            registers: Registers {
                ip: copy.ip,
                sp: copy.sp,
                bp: copy.bp,
            },
            bytes: copy.bytes,
        };
        let mut addresses = Vec::new();
        self.unwinder.unwind(&slice, copy.base, &mut addresses);
        let next = u32::try_from(self.known.len()).unwrap();
        Some(*self.known.entry(addresses).or_insert(next))
    }
}

fn survey(trees: bool) -> Survey {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    let mut stacks = Stacks {
        unwinder,
        known: HashMap::new(),
    };
    let capturer = rtops_threads::install(Signal::URGENT).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let plan = Plan {
        capturer: &capturer,
        spare: &[],
        max_pause: Duration::from_secs(5),
        deadline,
    };
    let wanted = Wanted {
        trees,
        steps: trees,
        step_until: deadline,
    };
    Survey::take(&plan, wanted, &mut stacks).unwrap()
}

fn id(task: &JoinHandle<()>) -> u64 {
    task.id().to_string().parse().unwrap()
}

/// The cell of a task, once it waits.
fn cell(survey: &Survey, id: u64) -> (usize, Cell) {
    let position = survey.cells.iter().position(|cell| cell.id == id);
    let position = position.unwrap_or_else(|| panic!("no task {id} among {:?}", survey.cells));
    (position, survey.cells[position])
}

/// Waits until the tasks have come to a rest.
fn settle(runtime: &Runtime) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let polls = || -> u64 {
        let metrics = runtime.metrics();
        (0..metrics.num_workers())
            .map(|worker| metrics.worker_park_unpark_count(worker))
            .sum()
    };
    let mut before = polls();
    loop {
        thread::sleep(Duration::from_millis(20));
        let now = polls();
        if now == before && runtime.metrics().global_queue_depth() == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the tasks do not settle");
        before = now;
    }
}

#[test]
fn waits_are_found_with_their_leaves_and_steps() {
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = oneshot::channel::<()>();
    let receiving = runtime.spawn(async { drop(receiver.await) });
    let sleeping = runtime.spawn(async { tokio::time::sleep(Duration::from_secs(10_000)).await });
    let never = runtime.spawn(pending());
    let lost = runtime.spawn(poll_fn(|_| Poll::Pending));
    let (first, second) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let selecting = runtime.spawn(async {
        tokio::select! { _ = first.1 => {}, _ = second.1 => {} }
    });
    settle(&runtime);
    let survey = survey(true);
    let find = |task| cell(&survey, id(task));
    for task in [&receiving, &sleeping, &never, &lost, &selecting] {
        let (_, cell) = find(task);
        assert_eq!(
            (cell.state, cell.outcome),
            (CellState::Idle, Outcome::Stepped)
        );
        assert!(cell.has_join_handle);
    }
    let leaves = |task| survey.leaves(find(task).0).count();
    assert_eq!(
        [&receiving, &sleeping, &never, &lost, &selecting].map(leaves),
        [1, 1, 0, 0, 2]
    );
    let wakers = |task| find(task).1.wakers;
    assert_eq!(
        [&receiving, &sleeping, &never, &lost, &selecting].map(wakers),
        [1, 1, 0, 0, 2]
    );
    drop((sender, first.0, second.0));
}

#[test]
fn what_waits_inside_of_a_task_is_polled_in_its_steps() {
    let runtime = Runtime::new().unwrap();
    let spawn = |children: usize| {
        runtime.spawn(async move {
            let channels: Vec<_> = (0..children).map(|_| oneshot::channel::<()>()).collect();
            let (_senders, receivers): (Vec<_>, FuturesUnordered<_>) = channels.into_iter().unzip();
            let mut receivers = receivers;
            receivers.next().await;
        })
    };
    let (one, ten) = (spawn(1), spawn(10));
    settle(&runtime);
    let survey = survey(true);
    let steps = |task| {
        let (position, _) = cell(&survey, id(task));
        let trace = survey
            .traces
            .iter()
            .find(|(at, _)| *at == position)
            .unwrap();
        trace.1.steps
    };
    assert!(steps(&ten) > steps(&one) + 9 * 20);
}
