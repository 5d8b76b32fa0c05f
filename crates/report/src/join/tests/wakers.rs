//! How many wakers of a task there are that can still wake it, and that it never is where there are none.

use super::*;

const NEVER: (State, WakerState) = (State::Never, WakerState::None);

const fn held(wakers: u32) -> (State, WakerState) {
    (State::Waiting, WakerState::Held(wakers))
}

/// A task of which the agent was asked nothing.
fn unasked(id: u64) -> Told {
    Told {
        waker: WakerState::NotKnown,
        ..waiting(id, &[])
    }
}

fn span(id: u64) -> Told {
    Told {
        parent: 1,
        kind: TaskKind::Span,
        ..unasked(id)
    }
}

/// An idle task of which memory has so many wakers.
fn with_wakers(wakers: u32) -> Found {
    Found { wakers, ..idle() }
}

/// What the first task of a dump does.
fn first(told: Vec<Told>, found: Found) -> (State, WakerState) {
    let dump = of_tasks(told, vec![found]);
    let task = dump.tasks.first().unwrap();
    assert!(task.memory().is_some());
    (task.state, task.waker)
}

#[test]
fn a_waker_that_the_agent_keeps_wakes_nobody() {
    for (wakers, then) in [(0, NEVER), (1, NEVER), (2, held(1)), (3, held(2))] {
        assert_eq!(first(vec![unasked(1)], with_wakers(wakers)), then);
    }
}

#[test]
fn the_agent_keeps_one_for_each_span_inside_as_well() {
    for (wakers, then) in [(2, NEVER), (3, NEVER), (4, held(1))] {
        let told = vec![unasked(1), span(2), span(3)];
        assert_eq!(first(told, with_wakers(wakers)), then);
    }
    // A span that was not polled yet keeps none, and one inside of a container one of that.
    for cell in [None, Some(CELL + 0x9000)] {
        let told = vec![unasked(1), Told { cell, ..span(2) }];
        assert_eq!(first(told, with_wakers(2)), held(1));
    }
}

#[test]
fn the_agent_keeps_one_for_what_is_held_back_as_well() {
    for (wakers, then) in [(2, NEVER), (3, held(1))] {
        let tasks = vec![unasked(1), held_back(unasked(2))];
        let dump = of_tasks(tasks, vec![with_wakers(wakers)]);
        let task = &dump.tasks[0];
        assert_eq!((task.state, task.waker), then);
    }
}

#[test]
fn wakers_of_earlier_probes_wake_it_through_the_one_that_is_kept() {
    for (wakers, of_probes, then) in [(1, 1, held(1)), (1, 2, held(2)), (3, 1, held(3))] {
        let asked_before = Told {
            waker: WakerState::Held(of_probes),
            ..unasked(1)
        };
        assert_eq!(first(vec![asked_before], with_wakers(wakers)), then);
    }
}

#[test]
fn a_waker_that_leads_elsewhere_is_none_that_memory_counts() {
    // Inside of a container that it is spawned with; the agent keeps a waker of the container's.
    let inside = Told {
        cell: Some(CELL + 0x9000),
        ..unasked(1)
    };
    let found = marked(MARK + 1, with_wakers(1));
    assert_eq!(first(vec![inside], found), held(1));
}

#[test]
fn a_waker_that_is_not_known_may_be_none() {
    let replaced = |id| Told {
        cell: None,
        ..unasked(id)
    };
    // Whether there are others of which that is so makes no difference.
    for told in [vec![replaced(1)], vec![replaced(1), replaced(2)]] {
        let found = marked(MARK + 1, with_wakers(1));
        assert_eq!(first(told, found), held(1));
    }
}

fn woken(wakers: u32) -> Found {
    Found {
        state: UntrackedState::Woken,
        ..with_wakers(wakers)
    }
}

#[test]
fn one_waker_is_what_queued_a_task_that_was_polled_before() {
    // The agent keeps one.
    for (wakers, left) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
        let then = (State::Woken, WakerState::Held(left));
        assert_eq!(first(vec![unasked(1)], woken(wakers)), then, "{wakers}");
    }
    let asked_before = Told {
        waker: WakerState::Held(2),
        ..unasked(1)
    };
    let then = (State::Woken, WakerState::Held(2));
    assert_eq!(first(vec![asked_before], woken(2)), then);
}

#[test]
fn one_that_was_polled_since_had_been_woken_by_somebody() {
    let since_ns = SINCE;
    for state in [
        TaskState::Suspended { since_ns },
        TaskState::Running { since_ns, tid: 7 },
    ] {
        let moved = || Told {
            state,
            ..unasked(1)
        };
        for wakers in [0, 1] {
            let then = (State::Waiting, WakerState::NotKnown);
            assert_eq!(first(vec![moved()], with_wakers(wakers)), then);
        }
        assert_eq!(first(vec![moved()], with_wakers(2)), held(1));
        let then = (State::Woken, WakerState::Held(1));
        assert_eq!(first(vec![moved()], woken(2)), then);
    }
    // What the agent says is of later.
    let never = Told {
        state: TaskState::Suspended { since_ns },
        waker: WakerState::None,
        ..unasked(1)
    };
    let then = (State::Waiting, WakerState::NotKnown);
    assert_eq!(first(vec![never], with_wakers(1)), then);
}

#[test]
fn of_what_was_never_polled_or_is_polled_no_wakers_are_told() {
    let since_ns = SECOND;
    let new = Told {
        state: TaskState::New { since_ns },
        polls: 0,
        cell: None,
        ..unasked(1)
    };
    let not_known = WakerState::NotKnown;
    for wakers in [1, 2] {
        let found = marked(MARK + 1, woken(wakers));
        assert_eq!(first(vec![new.clone()], found), (State::New, not_known));
    }
    let tid = Some(7);
    let running = State::Running { tid };
    let found = Found {
        state: UntrackedState::Running { tid },
        ..with_wakers(3)
    };
    let told = Told {
        state: TaskState::Running { since_ns, tid: 7 },
        ..unasked(1)
    };
    assert_eq!(first(vec![told], found), (running, not_known));
    // Nor of what a thread polls itself.
    let found = Found {
        wakers: 0,
        ..block_on(Some(MARK + 1))
    };
    let then = first(vec![unasked(1)], found);
    assert_eq!(then, (State::Waiting, not_known));
}
