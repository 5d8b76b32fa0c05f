//! Circles, and what only looks like one.
#![allow(clippy::unwrap_used)]

use rtops_protocol::{
    FoundBy, Outside, Reply, SourceLocation, StackId, Stacks, StringId, Task, Unresolved,
    Untracked, UntrackedState,
};

use super::*;
use crate::{
    dump::fixtures::{end, leaf, receive, task},
    frames::fixtures::frames,
    untracked::fixtures::untracked,
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

/// Returns the circles in a dump of tasks that wait in these places, as `1 2`, with tasks behind a
/// circle as `| 3`. Untracked tasks have a letter, `u0`.
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
        stacks(),
        Reply::Tasks(tasks.collect()),
        Reply::Resources(resources.to_vec()),
        Reply::Claims(claims.to_vec()),
        Reply::HandlesSeen(handles.to_vec()),
        end(),
    ])
}

/// Makes the stacks of the places where tasks wait.
fn stacks() -> Reply {
    Reply::Stacks(Stacks(vec![
        vec![0x1000, 0x1001],
        vec![2],
        vec![0x1000, 0x1001],
    ]))
}

/// Makes the frames of these stacks, as numbered by an agent, by memory, or by one after the other.
fn of_stacks() -> Frames {
    let places = [
        "rtops_sync::mutex::Lock::poll serve",
        "tokio::time::sleep serve",
        "tokio::runtime::task::join::JoinHandle::poll serve",
    ];
    frames(&[places, places].concat())
}

fn circles_of(replies: Vec<Reply>) -> Vec<String> {
    let dump = receive(replies).unwrap();
    let frames = of_stacks();
    let shown = |circle: &Circle| {
        let number = |key| match key {
            TaskKey::Tracked(id) => id.to_string(),
            TaskKey::Untracked(place) => format!("u{place}"),
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
    // So is a branch of another task in the circle, or a holder that has ended or is unknown.
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
    // With two handles in one place, it is unknown which is awaited.
    let two = [joins(1, 2), joins(1, 3)];
    let tasks: &[(u64, &[u32])] = &[(1, &[JOIN]), (2, &[LOCK]), (3, &[SLEEP])];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &two);
    assert!(found.is_empty(), "{found:?}");
    // A handle further out than the join is not the awaited one.
    let outside = HandleSeen {
        entry: 1,
        ..joins(1, 2)
    };
    let tasks: &[(u64, &[u32])] = &[(1, &[JOIN]), (2, &[LOCK])];
    let found = circles(ResourceKind::Mutex, tasks, &claims, &[outside]);
    assert!(found.is_empty(), "{found:?}");
}

/// Makes a task whose memory shows where it waits, and the cell of the task that it awaits there.
fn awaits(cell: u64, places: &[(u32, Option<u64>)]) -> Untracked {
    let leaves = places.iter().map(|(stack, awaits)| UntrackedLeaf {
        leaf: leaf(*stack),
        awaits: *awaits,
        inside: 0,
    });
    Untracked {
        cell: Some(cell),
        leaves: leaves.collect(),
        ..untracked(cell, 0x10, &[])
    }
}

/// Makes a tracked task with this cell, as an agent reports it.
fn in_cell(id: u64, cell: u64) -> Task {
    Task {
        cell: Some(cell),
        ..task(id, 0, &[])
    }
}

/// Returns the circles in a dump of tasks whose memory was read.
fn circles_read(tracked: Vec<Task>, read: &[Untracked]) -> Vec<String> {
    circles_of(replies_read(tracked, read))
}

fn replies_read(tracked: Vec<Task>, read: &[Untracked]) -> Vec<Reply> {
    vec![
        Reply::Tasks(tracked),
        Reply::Outside(Outside {
            pause_ns: 1,
            read_standing: None,
            copy_ns: Some(5_000_000),
            has_tokio: true,
            threads_not_stopped: 0,
            agent_told_after_ns: Some(1),
        }),
        stacks(),
        Reply::Untracked(read.to_vec()),
        end(),
    ]
}

#[test]
fn tasks_whose_memory_tells_whom_they_await_are_in_circles_tracked_or_not() {
    let read = [
        awaits(0x100, &[(JOIN, Some(0x200))]),
        awaits(0x200, &[(JOIN, Some(0x300))]),
        awaits(0x300, &[(JOIN, Some(0x100))]),
        awaits(0x400, &[(JOIN, Some(0x200))]),
        awaits(0x500, &[(SLEEP, None)]),
    ];
    assert_eq!(circles_read(Vec::new(), &read), ["u0 u1 u2 | u3"]);
    let tracked = vec![in_cell(1, 0x200), in_cell(2, 0x400)];
    assert_eq!(circles_read(tracked, &read), ["1 u2 u0 | 2"]);
    let tracked = [0x100, 0x200, 0x300].into_iter().zip(1..);
    let tracked = tracked.map(|(cell, id)| in_cell(id, cell)).collect();
    assert_eq!(circles_read(tracked, &read), ["1 2 3 | u3"]);
    // A task that awaits itself.
    let alone = [awaits(0x100, &[(JOIN, Some(0x100))])];
    assert_eq!(circles_read(Vec::new(), &alone), ["u0"]);
}

#[test]
fn who_awaits_another_in_one_place_of_several_goes_on_in_the_others() {
    let back = awaits(0x200, &[(JOIN, Some(0x100))]);
    for places in [
        // A sleep beside it, a join of an unknown task, and a place that is not a join.
        &[(JOIN, Some(0x200)), (SLEEP, None)][..],
        &[(JOIN, Some(0x200)), (LOCK, Some(0x900))],
        &[(JOIN, None)],
        &[],
    ] {
        let read = [awaits(0x100, places), back.clone()];
        let found = circles_read(Vec::new(), &read);
        assert!(found.is_empty(), "{places:?}: {found:?}");
    }
}

/// Returns the tasks whose handles a task awaits.
fn awaited_by(task: TaskKey, replies: Vec<Reply>) -> Vec<TaskKey> {
    let dump = receive(replies).unwrap();
    let waits = Waits::of(&dump, &of_stacks(), &Holders::of(&dump));
    waits.joined_by(task).map(|task| task.key).collect()
}

#[test]
fn who_awaits_another_in_all_places_waits_for_it_once() {
    // A handle may be awaited in two branches, or by two children of a container.
    for places in [
        [(JOIN, Some(0x200)), (JOIN, Some(0x200))],
        [(JOIN, Some(0x200)), (LOCK, Some(0x200))],
    ] {
        let read = [
            awaits(0x100, &places),
            awaits(0x200, &[(JOIN, Some(0x100))]),
        ];
        assert_eq!(circles_read(Vec::new(), &read), ["u0 u1"]);
        let awaited = awaited_by(TaskKey::Untracked(0), replies_read(Vec::new(), &read));
        assert_eq!(awaited, [TaskKey::Untracked(1)]);
    }
}

#[test]
fn who_awaits_another_as_memory_and_its_agent_tell_waits_for_it_once() {
    let asked = Task {
        cell: Some(0x100),
        ..task(1, 0, &[JOIN])
    };
    let cut = Untracked {
        found_by: FoundBy::Unresolved(Unresolved::Locked),
        ..awaits(0x100, &[(JOIN, Some(0x200))])
    };
    let read = [cut, awaits(0x200, &[(JOIN, Some(0x100))])];
    let mut replies = vec![stacks()];
    replies.extend(replies_read(vec![asked, in_cell(2, 0x200)], &read));
    replies.insert(2, Reply::HandlesSeen(vec![joins(1, 2)]));
    assert_eq!(circles_of(replies.clone()), ["1 2"]);
    let awaited = awaited_by(TaskKey::Tracked(1), replies);
    assert_eq!(awaited, [TaskKey::Tracked(2)]);
}

#[test]
fn of_several_handles_in_one_place_each_must_lead_to_a_task_that_waits() {
    let back = |cell| awaits(cell, &[(JOIN, Some(0x100))]);
    let two = |other| awaits(0x100, &[(JOIN, Some(0x200)), (JOIN, other)]);
    let read = [two(Some(0x300)), back(0x200), back(0x300)];
    assert_eq!(circles_read(Vec::new(), &read), ["u0 u1 | u2"]);
    // One of them is unknown: the task has ended or is on another executor.
    let ended = Untracked {
        state: UntrackedState::Completed,
        ..awaits(0x400, &[])
    };
    for other in [None, Some(0x400), Some(0x900)] {
        for places in [two(other), {
            let mut places = two(other);
            places.leaves.reverse();
            places
        }] {
            let read = [places, back(0x200), ended.clone()];
            let found = circles_read(Vec::new(), &read);
            assert!(found.is_empty(), "{other:?}: {found:?}");
        }
    }
    // Any of them lets it go on.
    let sleeps = awaits(0x300, &[(SLEEP, None)]);
    let found = circles_read(Vec::new(), &[two(Some(0x300)), back(0x200), sleeps]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn who_does_not_wait_is_in_no_circle() {
    let back = awaits(0x200, &[(JOIN, Some(0x100))]);
    let ahead = awaits(0x100, &[(JOIN, Some(0x200))]);
    let woken = Untracked {
        state: UntrackedState::Woken,
        ..ahead.clone()
    };
    let ready = Untracked {
        found_by: FoundBy::Ready,
        ..ahead
    };
    for one in [woken, ready] {
        let found = circles_read(Vec::new(), &[one, back.clone()]);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_poll_that_was_given_up_may_wait_elsewhere_too() {
    let back = awaits(0x200, &[(JOIN, Some(0x100))]);
    for tracked in [Vec::new(), vec![in_cell(1, 0x100), in_cell(2, 0x200)]] {
        let cut = Untracked {
            found_by: FoundBy::Unresolved(Unresolved::Locked),
            ..awaits(0x100, &[(JOIN, Some(0x200))])
        };
        let found = circles_read(tracked, &[cut, back.clone()]);
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Makes a task with two tracked futures as parts that wait in these places.
fn in_parts(places: [(u32, Option<u64>); 2]) -> (Vec<Task>, Untracked) {
    let mut found = awaits(0x100, &places);
    for (place, part) in found.leaves.iter_mut().zip(1..) {
        place.inside = part;
    }
    (vec![in_cell(1, 0x100), in_cell(2, 0x100)], found)
}

#[test]
fn parts_of_a_task_whose_poll_was_given_up_may_wait_elsewhere_too() {
    let (parts, found) = in_parts([(JOIN, Some(0x200)), (JOIN, Some(0x200))]);
    let cut = Untracked {
        found_by: FoundBy::Unresolved(Unresolved::Locked),
        ..found
    };
    let back = awaits(0x200, &[(JOIN, Some(0x100))]);
    let found = circles_read(parts, &[cut, back]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn which_part_of_a_task_ends_it_is_not_known() {
    let back = awaits(0x200, &[(JOIN, Some(0x100))]);
    let (joins, sleeps) = ((JOIN, Some(0x200)), (SLEEP, None));
    for places in [[joins, sleeps], [sleeps, joins]] {
        let (parts, found) = in_parts(places);
        let found = circles_read(parts, &[found, back.clone()]);
        assert!(found.is_empty(), "{places:?}: {found:?}");
    }
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
        end(),
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
        end(),
    ]);
    assert!(found.is_empty());
}
