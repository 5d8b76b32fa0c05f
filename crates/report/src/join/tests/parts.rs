//! Assigns the places where a task waits to its parts.

use super::*;

fn span(id: u64, parent: u64, stacks: &[u32]) -> Told {
    Told {
        parent,
        kind: TaskKind::Span,
        ..waiting(id, stacks)
    }
}

/// Makes a task that the agent did not probe, or a span if it has a parent.
fn unasked(id: u64, parent: u64) -> Told {
    Told {
        waker: WakerState::NotKnown,
        ..match parent {
            0 => waiting(id, &[]),
            _ => span(id, parent, &[]),
        }
    }
}

/// Makes a task whose poll polled the tracked futures with these numbers.
fn polled(ids: &[u64], found: Found) -> Found {
    Found {
        polled: ids.iter().map(|id| MARK + id).collect(),
        ..found
    }
}

/// Returns the state of a task of a dump.
fn does(dump: &Dump, id: u64) -> (State, WakerState) {
    let mut tasks = dump.tasks.iter();
    let task = tasks.find(|task| task.key == TaskKey::Tracked(id)).unwrap();
    (task.state, task.waker)
}

const NEVER: (State, WakerState) = (State::Never, WakerState::None);
const WAITING: (State, WakerState) = (State::Waiting, WakerState::NotKnown);

/// Returns the innermost addresses of the places where each task waits.
fn places(dump: &Dump) -> Vec<Vec<u64>> {
    let innermost = |leaf: &Leaf| dump.stack(leaf.stack)[0];
    let tasks = dump.tasks.iter();
    tasks
        .map(|task| task.leaves.iter().map(innermost).collect())
        .collect()
}

#[test]
fn a_place_is_that_of_the_span_that_is_polled_there_and_of_all_around_it() {
    let told = vec![
        waiting(1, &[]),
        span(2, 1, &[]),
        span(3, 2, &[]),
        span(4, 1, &[]),
        span(5, 1, &[]),
    ];
    let found = waits_at(&[(0, 3), (1, 4), (0, 1), (1, 0), (0, 99)], idle());
    let dump = of_tasks(told, vec![found]);
    assert_eq!(
        places(&dump),
        [
            vec![0x71, 0x72, 0x71, 0x72, 0x71],
            vec![0x71],
            vec![0x71],
            vec![0x72],
            // It was not polled there.
            vec![],
        ]
    );
    let [task, spans @ ..] = dump.tasks.as_slice() else {
        panic!("{dump:?}");
    };
    assert_eq!(task.trace, Some(TraceId(0)));
    let read = spans.iter().map(|span| {
        assert_eq!(span.trace, None);
        let memory = span.memory()?;
        // A span is not a tokio task.
        assert_eq!(
            (memory.number, memory.cell, memory.block_on),
            (None, None, None)
        );
        let leaves = memory.leaves.iter().map(|read| read.leaf);
        assert_eq!(leaves.collect::<Vec<_>>(), span.leaves);
        Some(memory.found_by)
    });
    let whole = Some(FoundBy::Steps);
    assert_eq!(read.collect::<Vec<_>>(), [whole, whole, whole, None]);
}

#[test]
fn a_span_that_a_thread_polls_itself_is_not_what_is_in_block_on() {
    let found = waits_at(&[(0, 2)], block_on(Some(MARK + 1)));
    let dump = of_tasks(vec![waiting(1, &[]), span(2, 1, &[])], vec![found]);
    let threads = dump.tasks.iter().map(Task::block_on);
    assert_eq!(threads.collect::<Vec<_>>(), [Some(7), None]);
    assert_eq!(places(&dump), [[0x71], [0x71]]);
}

#[test]
fn equal_branches_are_as_many_places_of_a_span() {
    let told = vec![waiting(1, &[]), span(2, 1, &[])];
    let dump = of_tasks(told, vec![waits_at(&[(0, 2), (0, 2), (0, 1)], idle())]);
    assert_eq!(places(&dump), [vec![0x71; 3], vec![0x71; 2]]);
}

#[test]
fn spans_in_a_ring_end() {
    let told = vec![waiting(1, &[]), span(2, 3, &[]), span(3, 2, &[])];
    let dump = of_tasks(told, vec![waits_at(&[(0, 2)], idle())]);
    assert_eq!(places(&dump)[0], [0x71]);
    assert!(places(&dump)[1].len() <= MAX_NESTING);
}

#[test]
fn what_a_poll_registered_before_it_was_given_up_is_a_place_of_its_spans_unless_they_were_asked() {
    let locked = || Found {
        found_by: FoundBy::Unresolved(Unresolved::Locked),
        ..waits_at(&[(0, 2)], idle())
    };
    let dump = of_tasks(vec![waiting(1, &[]), span(2, 1, &[])], vec![locked()]);
    assert_eq!(places(&dump), [[0x71], [0x71]]);
    let asked = vec![waiting(1, &[2]), span(2, 1, &[1])];
    let dump = of_tasks(asked, vec![locked()]);
    assert_eq!(places(&dump), [[0x63], [0x62]]);
}

#[test]
fn each_of_several_parts_of_a_task_has_the_places_inside_of_it() {
    let told = vec![
        waiting(1, &[]),
        waiting(2, &[]),
        span(3, 2, &[]),
        waiting(4, &[]),
    ];
    // A leaf inside none of them belongs to none.
    let found = waits_at(&[(0, 1), (1, 3), (0, 2), (1, 0)], idle());
    let dump = of_tasks(told, vec![found]);
    assert_eq!(
        places(&dump),
        [vec![0x71], vec![0x72, 0x71], vec![0x72], vec![]]
    );
    for task in &dump.tasks {
        // The trace does not show which part of the poll belongs to which task.
        assert_eq!((task.state, task.trace), (State::Waiting, None));
    }
    let read = dump.tasks.iter().map(|task| {
        let memory = task.memory()?;
        let leaves = memory.leaves.iter().map(|read| read.leaf);
        assert_eq!(leaves.collect::<Vec<_>>(), task.leaves);
        Some((memory.number?, memory.cell?))
    });
    let cell = Some((70, CELL));
    assert_eq!(read.collect::<Vec<_>>(), [cell, cell, None, None]);
}

#[test]
fn a_part_that_has_moved_waits_in_its_place_nevertheless() {
    let moved = Told {
        state: TaskState::Suspended { since_ns: SINCE },
        ..waiting(1, &[])
    };
    let found = waits_at(&[(0, 1), (1, 2)], idle());
    let dump = of_tasks(vec![moved, waiting(2, &[])], vec![found]);
    assert_eq!(places(&dump), [[0x71], [0x72]]);
    let since = dump.tasks.iter().map(Task::since);
    let second = Some(Duration::from_nanos(2 * SECOND));
    assert_eq!(since.collect::<Vec<_>>(), [None, second]);
}

#[test]
fn a_span_that_has_moved_is_shown_as_it_was_when_the_process_stood_still() {
    let since_ns = SINCE;
    for now in [
        TaskState::Suspended { since_ns },
        TaskState::Running { since_ns, tid: 7 },
        TaskState::Starved { since_ns },
    ] {
        let moved = Told {
            state: now,
            ..unasked(2, 1)
        };
        // Nothing could wake the task, yet it was woken.
        for wakers in [0, 1, 2] {
            let found = Found {
                wakers,
                ..waits_at(&[(0, 2)], polled(&[2], idle()))
            };
            let dump = of_tasks(vec![unasked(1, 0), moved.clone()], vec![found]);
            let span = &dump.tasks[1];
            assert_eq!(
                (span.state, span.since()),
                (State::Waiting, None),
                "{now:?}"
            );
            assert!(!span.has_moved());
        }
        // If it was not in memory, only the agent's word is left.
        let dump = of_tasks(vec![unasked(1, 0), moved], vec![idle()]);
        let span = &dump.tasks[1];
        assert_eq!(span.since(), Some(Duration::from_nanos(SINCE)));
        assert!(span.has_moved());
    }
}

#[test]
fn a_span_that_was_polled_and_registered_nothing_never_goes_on() {
    let told = || vec![unasked(1, 0), unasked(2, 1), unasked(3, 2), unasked(4, 1)];
    let found = |ids: &[u64], places| polled(ids, waits_at(places, idle()));
    let dump = of_tasks(told(), vec![found(&[1, 2, 3, 4], &[(0, 4)])]);
    let states = [1, 2, 3, 4].map(|id| does(&dump, id).0);
    // Memory has one waker of the task, which its agent keeps.
    let (never, waiting) = (State::Never, State::Waiting);
    assert_eq!(states, [never, never, never, waiting]);
    assert_eq!((does(&dump, 2), does(&dump, 3)), (NEVER, NEVER));
    // What is inside a span wakes the span, too.
    let dump = of_tasks(told(), vec![found(&[1, 2, 3, 4], &[(0, 3)])]);
    let spans = [2, 3, 4].map(|id| does(&dump, id));
    assert_eq!(spans, [WAITING, WAITING, NEVER]);
    // A span that was not polled now may have been polled before.
    let dump = of_tasks(told(), vec![found(&[1, 4, 99], &[(0, 1)])]);
    let spans = [2, 3, 4].map(|id| does(&dump, id));
    assert_eq!(spans, [WAITING, WAITING, NEVER]);
}

#[test]
fn what_is_around_a_tracked_future_wakes_it_in_vain() {
    // A timeout does this.
    let around = |ids: &[u64], inside| Found {
        wakers: 3,
        ..polled(ids, waits_at(&[(0, inside)], idle()))
    };
    let does = |found| does(&of_tasks(vec![unasked(1, 0)], vec![found]), 1);
    assert_eq!(does(around(&[1], 0)), NEVER);
    assert_eq!(does(around(&[1], 1)), (State::Waiting, WakerState::Held(2)));
    // It was not polled, and may have registered something before.
    assert_eq!(does(around(&[], 0)), (State::Waiting, WakerState::Held(2)));
}

#[test]
fn a_future_that_polls_a_span_of_another_one_waits_where_that_does() {
    // It was first polled in another task, which may have ended since, and then moved here.
    for parent in [3, 9] {
        let other = Told {
            cell: Some(CELL + 0x1000),
            ..unasked(3, 0)
        };
        let told = vec![unasked(1, 0), unasked(2, parent), other];
        let found = Found {
            wakers: 3,
            ..polled(&[1, 2], waits_at(&[(0, 2)], idle()))
        };
        let dump = of_tasks(told, vec![found]);
        // The agent keeps one waker for each.
        assert_eq!(does(&dump, 1), (State::Waiting, WakerState::Held(1)));
        assert_eq!(does(&dump, 2), WAITING);
    }
}

#[test]
fn spans_around_too_many_others_go_on() {
    let last = 2 * MAX_NESTING as u64;
    let spans = (2..=last).map(|id| unasked(id, id - 1));
    let told = [unasked(1, 0)].into_iter().chain(spans);
    let all: Vec<u64> = (1..=last).collect();
    let found = polled(
        &all,
        waits_at(
            &[(0, last)],
            Found {
                wakers: 3,
                ..idle()
            },
        ),
    );
    let dump = of_tasks(told.collect(), vec![found]);
    for id in 2..=last {
        assert_eq!(does(&dump, id), WAITING, "{id}");
    }
}

#[test]
fn so_it_is_with_one_of_several_parts_of_a_task() {
    let found = polled(&[1, 2], waits_at(&[(0, 1)], idle()));
    let told = vec![unasked(1, 0), unasked(2, 0), unasked(3, 0)];
    let dump = of_tasks(told, vec![found]);
    let parts = [1, 2, 3].map(|id| does(&dump, id));
    assert_eq!(parts, [WAITING, NEVER, WAITING]);
}

#[test]
fn only_a_whole_poll_of_what_waits_tells_that_a_span_never_goes_on() {
    use UntrackedState as Read;
    let does = |found: Found| {
        let told = vec![unasked(1, 0), unasked(2, 1)];
        does(&of_tasks(told, vec![polled(&[1, 2], found)]), 2)
    };
    assert_eq!(does(idle()), NEVER);
    assert_eq!(does(block_on(Some(MARK + 1))), NEVER);
    for found_by in [
        FoundBy::Ready,
        FoundBy::Thread,
        FoundBy::Unresolved(Unresolved::Locked),
        FoundBy::Unresolved(Unresolved::NoTime),
    ] {
        let found = Found { found_by, ..idle() };
        assert_eq!(does(found), WAITING, "{found_by:?}");
    }
    for state in [Read::Woken, Read::Running { tid: Some(7) }] {
        assert_eq!(does(in_state(state)), WAITING, "{state:?}");
    }
}

#[test]
fn a_span_with_wakers_of_earlier_probes_or_that_was_polled_since_goes_on() {
    let found = || polled(&[1, 2], waits_at(&[], idle()));
    let asked_before = Told {
        waker: WakerState::Held(1),
        ..unasked(2, 1)
    };
    let dump = of_tasks(vec![unasked(1, 0), asked_before], vec![found()]);
    assert_eq!(does(&dump, 2), (State::Waiting, WakerState::Held(1)));
    for (since_ns, then) in [(AFTER, NEVER), (AFTER - 1, WAITING)] {
        let told = Told {
            state: TaskState::Suspended { since_ns },
            ..unasked(2, 1)
        };
        let dump = of_tasks(vec![unasked(1, 0), told], vec![found()]);
        assert_eq!(does(&dump, 2), then);
    }
    // A span that is held back waits for its consumer.
    let dump = of_tasks(vec![unasked(1, 0), held_back(unasked(2, 1))], vec![found()]);
    assert_eq!(does(&dump, 2).0, State::HeldBack);
}

#[test]
fn a_span_that_was_asked_waits_where_it_says() {
    // For a span, its agent reports no wakers.
    let asked = Told {
        leaves: span(2, 1, &[1]).leaves,
        ..unasked(2, 1)
    };
    let found = polled(&[1, 2], waits_at(&[], idle()));
    let dump = of_tasks(vec![unasked(1, 0), asked], vec![found]);
    assert_eq!(places(&dump)[1], [0x62]);
    assert_eq!(does(&dump, 2), WAITING);
}

#[test]
fn a_place_inside_of_another_task_is_not_its_own() {
    let others = Found {
        cell: Some(CELL + 0x1000),
        ..waits_at(&[(1, 1)], idle())
    };
    let dump = of_tasks(
        vec![waiting(1, &[])],
        vec![waits_at(&[(0, 1)], idle()), others],
    );
    assert_eq!(keys(&dump), [TRACKED, TaskKey::Untracked(1)]);
    assert_eq!(places(&dump), [[0x71], [0x72]]);
}
