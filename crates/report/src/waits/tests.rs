//! Circles, and what only looks like one.
#![allow(clippy::unwrap_used)]

use rtops_protocol::{End, Reply, SourceLocation, StackId, Stacks, StringId, Task};

use super::*;
use crate::{
    dump::tests::{receive, task},
    frames::tests::frames,
};

const LOCK: u32 = 0;
const SLEEP: u32 = 1;
const JOIN: u32 = 2;

fn claim(role: ClaimRole, mode: ClaimMode, task: u64, resource: u64, since_ns: u64) -> Claim {
    Claim {
        resource,
        role,
        task,
        tid: 1,
        since_ns,
        site: SourceLocation::default(),
        mode,
        permits: 1,
    }
}

fn holds(task: u64, resource: u64) -> Claim {
    claim(ClaimRole::Holder, ClaimMode::Exclusive, task, resource, 9)
}

fn waits(task: u64, resource: u64) -> Claim {
    claim(ClaimRole::Waiter, ClaimMode::Exclusive, task, resource, 5)
}

fn shared(claim: Claim) -> Claim {
    Claim {
        mode: ClaimMode::Shared,
        ..claim
    }
}

fn joins(task: u64, of: u64) -> HandleSeen {
    HandleSeen {
        task,
        stack: StackId(JOIN),
        entry: 0,
        of,
    }
}

/// What a dump says of tasks that wait in these places, as circles `1 2` with those behind `| 3`.
fn circles(
    kind: ResourceKind,
    tasks: &[(u64, &[u32])],
    claims: &[Claim],
    handles: &[HandleSeen],
) -> Vec<String> {
    let resources = [71, 72, 73].map(|id| Resource {
        id,
        kind,
        value_type: StringId(0),
        site: SourceLocation::default(),
    });
    let tasks = tasks.iter().map(|(id, stacks)| task(*id, 0, stacks));
    circles_of(vec![
        Reply::Stacks(Stacks(vec![
            vec![0x1000, 0x1001],
            vec![2],
            vec![0x1000, 0x1001],
        ])),
        Reply::Tasks(tasks.collect()),
        Reply::Resources(resources.to_vec()),
        Reply::Claims(claims.to_vec()),
        Reply::HandlesSeen(handles.to_vec()),
        Reply::End(End { gaps: Vec::new() }),
    ])
}

fn circles_of(replies: Vec<Reply>) -> Vec<String> {
    let dump = receive(replies).unwrap();
    let frames = frames(&[
        "rtops_sync::mutex::Lock::poll serve",
        "tokio::time::sleep serve",
        "tokio::runtime::task::join::JoinHandle::poll serve",
    ]);
    let shown = |circle: &Circle| {
        let number = |key| match key {
            TaskKey::Tracked(id) => id.to_string(),
            TaskKey::Untracked(_) => panic!("{key:?}"),
        };
        let tasks = circle.steps.iter().map(|step| number(step.task.key));
        let tasks = tasks.collect::<Vec<_>>().join(" ");
        let behind = circle.behind.iter();
        let behind = behind.map(|task| format!(" | {}", number(*task)));
        format!("{tasks}{}", behind.collect::<String>())
    };
    let holders = Holders::of(&dump);
    Waits::of(&dump, &frames, &holders)
        .circles()
        .iter()
        .map(shown)
        .collect()
}

#[test]
fn opposite_orders_are_a_circle_with_those_behind_it() {
    let tasks: &[(u64, &[u32])] = &[(1, &[LOCK]), (2, &[LOCK]), (3, &[LOCK]), (4, &[SLEEP])];
    let claims = [
        holds(1, 71),
        waits(1, 72),
        holds(2, 72),
        waits(2, 71),
        waits(3, 72),
    ];
    assert_eq!(
        circles(ResourceKind::Mutex, tasks, &claims, &[]),
        ["1 2 | 3"]
    );
}

#[test]
fn a_lock_taken_twice_is_a_circle_of_one() {
    let claims = [holds(1, 71), waits(1, 71)];
    let found = circles(ResourceKind::Mutex, &[(1, &[LOCK])], &claims, &[]);
    assert_eq!(found, ["1"]);
}

#[test]
fn a_branch_that_goes_on_is_a_way_out() {
    let claims = [holds(1, 71), waits(1, 71)];
    let found = circles(ResourceKind::Mutex, &[(1, &[LOCK, SLEEP])], &claims, &[]);
    assert!(found.is_empty(), "{found:?}");
    // So is one of another task in the circle, and a holder that has ended or is none of ours.
    let tasks: &[(u64, &[u32])] = &[(1, &[LOCK]), (2, &[LOCK, SLEEP])];
    let claims = [holds(1, 71), waits(1, 72), holds(2, 72), waits(2, 71)];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &[]);
    assert!(found.is_empty(), "{found:?}");
    for holder in [0, 99] {
        let claims = [holds(holder, 71), waits(1, 71)];
        let found = circles(ResourceKind::Mutex, &[(1, &[LOCK])], &claims, &[]);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_writer_waits_for_all_readers_and_a_semaphore_for_any() {
    let tasks: &[(u64, &[u32])] = &[(1, &[LOCK]), (2, &[SLEEP])];
    let readers = [shared(holds(1, 71)), shared(holds(2, 71)), waits(1, 71)];
    assert_eq!(circles(ResourceKind::RwLock, tasks, &readers, &[]), ["1"]);
    let permits = [holds(1, 71), holds(2, 71), waits(1, 71)];
    let found = circles(ResourceKind::Semaphore, tasks, &permits, &[]);
    assert!(found.is_empty(), "{found:?}");
    let alone = [holds(1, 71), waits(1, 71)];
    assert_eq!(circles(ResourceKind::Semaphore, tasks, &alone, &[]), ["1"]);
}

#[test]
fn a_reader_behind_a_writer_that_waits_for_it_is_in_a_circle() {
    let tasks: &[(u64, &[u32])] = &[(1, &[LOCK]), (2, &[LOCK])];
    let claims = [
        shared(holds(1, 71)),
        waits(2, 71),
        shared(claim(ClaimRole::Waiter, ClaimMode::Shared, 1, 71, 3)),
    ];
    assert_eq!(circles(ResourceKind::RwLock, tasks, &claims, &[]), ["1 2"]);
}

#[test]
fn joins_and_locks_make_circles_together() {
    let tasks: &[(u64, &[u32])] = &[(1, &[JOIN]), (2, &[LOCK])];
    let claims = [holds(1, 71), waits(2, 71)];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &[joins(1, 2)]);
    assert_eq!(found, ["1 2"]);
    // Two handles in one place: no telling which is awaited.
    let two = [joins(1, 2), joins(1, 3)];
    let tasks: &[(u64, &[u32])] = &[(1, &[JOIN]), (2, &[LOCK]), (3, &[SLEEP])];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &two);
    assert!(found.is_empty(), "{found:?}");
    // A handle further out than the join is none that is awaited.
    let outside = HandleSeen {
        entry: 1,
        ..joins(1, 2)
    };
    let tasks: &[(u64, &[u32])] = &[(1, &[JOIN]), (2, &[LOCK])];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &[outside]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_span_waits_and_holds_for_its_task() {
    let span = Task {
        parent: 1,
        kind: TaskKind::Span,
        ..task(5, 0, &[LOCK])
    };
    let found = circles_of(vec![
        Reply::Stacks(Stacks(vec![vec![1]])),
        Reply::Tasks(vec![task(1, 0, &[LOCK]), span]),
        Reply::Resources(vec![Resource {
            id: 71,
            kind: ResourceKind::Mutex,
            value_type: StringId(0),
            site: SourceLocation::default(),
        }]),
        Reply::Claims(vec![holds(1, 71), waits(5, 71)]),
        Reply::End(End { gaps: Vec::new() }),
    ]);
    assert_eq!(found, ["1"]);
}

#[test]
fn a_long_line_of_waiters_that_can_go_on_is_no_circle() {
    let tasks: Vec<Task> = (1..20_000).map(|id| task(id, 0, &[LOCK])).collect();
    let resources = (1..20_000).map(|id| Resource {
        id,
        kind: ResourceKind::Mutex,
        value_type: StringId(0),
        site: SourceLocation::default(),
    });
    let claims = (1..20_000).flat_map(|id| [holds(id + 1, id), waits(id, id)]);
    let found = circles_of(vec![
        Reply::Stacks(Stacks(vec![vec![1]])),
        Reply::Tasks(tasks),
        Reply::Resources(resources.collect()),
        Reply::Claims(claims.collect()),
        Reply::End(End { gaps: Vec::new() }),
    ]);
    assert!(found.is_empty());
}
