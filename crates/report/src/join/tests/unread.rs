//! Tasks that the agent is to probe because memory does not show where they wait.

use super::*;

const NOBODY: [u64; 0] = [];

fn unread(told: Vec<Told>, found: Vec<Found>) -> Vec<u64> {
    let mut unread = of_tasks(told, found).unread();
    unread.sort_unstable();
    unread
}

fn span(id: u64, parent: u64) -> Told {
    Told {
        parent,
        kind: TaskKind::Span,
        ..waiting(id, &[])
    }
}

fn unresolved(why: Unresolved) -> Found {
    Found {
        found_by: FoundBy::Unresolved(why),
        ..idle()
    }
}

#[test]
fn a_task_without_memory_is_asked_with_the_spans_inside() {
    let told = || {
        vec![
            waiting(1, &[]),
            // Spans may come before what is around them.
            span(2, 3),
            span(3, 1),
            // A span of another task, and one of a task that has ended.
            Told {
                cell: Some(CELL + 0x1000),
                ..waiting(4, &[])
            },
            span(5, 4),
            span(6, 99),
            // Made in the task, but not part of it.
            Told {
                parent: 1,
                state: TaskState::New { since_ns: SECOND },
                ..waiting(7, &[])
            },
        ]
    };
    let others = Found {
        cell: Some(CELL + 0x1000),
        ..idle()
    };
    assert_eq!(unread(told(), vec![others]), [1, 2, 3]);
    assert_eq!(unread(told(), Vec::new()), [1, 2, 3, 4, 5]);
}

#[test]
fn spans_in_a_ring_are_asked_with_nobody() {
    let told = vec![waiting(1, &[]), span(2, 3), span(3, 2)];
    assert_eq!(unread(told, Vec::new()), [1]);
}

#[test]
fn a_task_of_which_memory_tells_is_not_asked() {
    for found_by in [FoundBy::Steps, FoundBy::Ready] {
        let found = Found { found_by, ..idle() };
        assert_eq!(
            unread(vec![waiting(1, &[]), span(2, 1)], vec![found]),
            NOBODY
        );
    }
}

#[test]
fn a_poll_that_was_given_up_is_made_by_the_agent_if_that_can_go_otherwise() {
    use Unresolved as Why;
    let told = || vec![waiting(1, &[]), span(2, 1)];
    for why in [
        Why::Locked,
        Why::Fault,
        Why::Instruction,
        Why::OtherStack,
        Why::NoThread,
    ] {
        assert_eq!(unread(told(), vec![unresolved(why)]), [1, 2], "{why:?}");
    }
    for why in [
        // It would do to the process what it did in the interpreter.
        Why::Exit,
        Why::Panic,
        Why::Endless,
        Why::SystemCall,
        // It would no longer wait.
        Why::Ready,
        // Nobody wanted it, or there is no time.
        Why::NotAsked,
        Why::NoTime,
    ] {
        assert_eq!(unread(told(), vec![unresolved(why)]), NOBODY, "{why:?}");
    }
}

#[test]
fn only_what_waits_is_asked() {
    let since_ns = SECOND;
    for state in [
        TaskState::New { since_ns },
        TaskState::Running { since_ns, tid: 7 },
        TaskState::Starved { since_ns },
    ] {
        let told = Told {
            state,
            ..waiting(1, &[])
        };
        assert_eq!(unread(vec![told], Vec::new()), NOBODY);
    }
    // It was about to be polled.
    let woken = Found {
        state: UntrackedState::Woken,
        ..unresolved(Unresolved::Locked)
    };
    assert_eq!(unread(vec![waiting(1, &[])], vec![woken]), NOBODY);
    // There is no agent to ask.
    let untracked = unresolved(Unresolved::Locked);
    assert_eq!(unread(Vec::new(), vec![untracked]), NOBODY);
    // Nobody asks for more of it.
    assert_eq!(unread(vec![held_back(waiting(1, &[]))], Vec::new()), NOBODY);
}

#[test]
fn what_never_goes_on_is_asked_as_well() {
    let never = |obtained| Told {
        waker: WakerState::None,
        obtained,
        ..waiting(1, &[])
    };
    let locked = || unresolved(Unresolved::Locked);
    let found = [vec![], vec![locked()]];
    for found in found {
        let told = vec![never(Obtained::NotCaptured), span(2, 1)];
        assert_eq!(unread(told, found.clone()), [1, 2]);
        // It has answered that it registers nothing.
        let told = vec![never(Obtained::Probed), span(2, 1)];
        assert_eq!(unread(told, found), NOBODY);
    }
    assert_eq!(
        unread(vec![never(Obtained::NotCaptured)], vec![idle()]),
        NOBODY
    );
    // Memory has no waker of it except the one that its agent keeps.
    let told = Told {
        waker: WakerState::NotKnown,
        ..waiting(1, &[])
    };
    assert_eq!(unread(vec![told], vec![locked()]), [1]);
}

#[test]
fn one_that_has_answered_is_not_asked_again() {
    let locked = || unresolved(Unresolved::Locked);
    for found in [vec![], vec![locked()]] {
        let asked = vec![waiting(1, &[2]), span(2, 1)];
        assert_eq!(unread(asked, found.clone()), NOBODY);
        // The same if its span was probed.
        let asked = vec![
            waiting(1, &[2]),
            Told {
                leaves: waiting(2, &[1]).leaves,
                obtained: Obtained::Probed,
                ..span(2, 1)
            },
        ];
        assert_eq!(unread(asked, found), NOBODY);
    }
}

#[test]
fn places_that_were_read_before_a_poll_was_given_up_are_not_all() {
    let found = || Found {
        leaves: untracked(0, POLL, &[0, 1]).leaves,
        ..unresolved(Unresolved::Locked)
    };
    let mut inside = found();
    inside.leaves[0].inside = 2;
    for found in [found(), inside] {
        assert_eq!(
            unread(vec![waiting(1, &[]), span(2, 1)], vec![found]),
            [1, 2]
        );
    }
}

#[test]
fn one_that_has_moved_is_asked_where_memory_does_not_tell() {
    let moved = || Told {
        state: TaskState::Suspended { since_ns: SINCE },
        ..waiting(1, &[])
    };
    let locked = unresolved(Unresolved::Locked);
    assert_eq!(unread(vec![moved()], vec![locked]), [1]);
    assert_eq!(unread(vec![moved()], vec![idle()]), NOBODY);
}

#[test]
fn of_several_parts_of_a_task_those_are_asked_that_no_place_is_inside_of() {
    let told = || vec![waiting(1, &[]), waiting(2, &[]), span(3, 2)];
    let placed = |found_by| {
        let mut found = Found {
            found_by,
            leaves: untracked(0, POLL, &[0]).leaves,
            ..idle()
        };
        found.leaves[0].inside = 1;
        found
    };
    assert_eq!(unread(told(), vec![placed(FoundBy::Steps)]), [2, 3]);
    // All parts of a poll that was given up.
    let locked = unresolved(Unresolved::Locked);
    let placed = placed(locked.found_by);
    for found in [locked, placed] {
        assert_eq!(unread(told(), vec![found]), [1, 2, 3]);
    }
}
