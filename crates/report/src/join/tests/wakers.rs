//! Counts the wakers that can still wake a task; without any, its state is never.

use super::*;

const NEVER: (State, WakerState) = (State::Never, WakerState::None);

const fn held(wakers: u32) -> (State, WakerState) {
    (State::Waiting, WakerState::Held(wakers))
}

/// Makes a task that the agent did not probe.
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

/// Makes an idle task with this many wakers in memory.
fn with_wakers(wakers: u32) -> Found {
    Found { wakers, ..idle() }
}

/// Returns the state of the first task of a dump.
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
    // For a span that was not polled yet, none is kept; for one inside a
    // container, the container's is kept.
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
    // It was spawned in a container; the agent keeps one of the container's wakers.
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
    // Whether there are other such tasks makes no difference.
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
    // The agent's answer is from a later time.
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
    // Nor for what a thread polls itself.
    let found = Found {
        wakers: 0,
        ..block_on(Some(MARK + 1))
    };
    let then = first(vec![unasked(1)], found);
    assert_eq!(then, (State::Waiting, not_known));
}
