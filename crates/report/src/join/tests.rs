//! Joins what an agent reports with what was read, received in order.
#![allow(clippy::unwrap_used)]

mod parts;
mod placed;
mod shown;
mod unread;
mod wakers;

use rtops_protocol::{
    Leaf, Obtained, Outside, Reply, Stacks, Task as Told, TaskState, TraceId, Unresolved,
    Untracked as Found, UntrackedLeaf, UntrackedState, WakerState,
};

use super::*;
use crate::{
    dump::{
        Dump, Failure,
        fixtures::{end, leaf, receive, task as told, trace},
    },
    task::{Memory, TaskKey},
    untracked::fixtures::untracked,
};

const MS: u64 = 1_000_000;
/// How much later than the process stood still the agent was asked.
const AFTER: u64 = 5 * MS;
/// A time shorter than `AFTER`.
const SINCE: u64 = 2 * MS;
const SECOND: u64 = 1_000 * MS;
const CELL: u64 = 0x7f00_0000_1000;
const MARK: u64 = 0x5500_0000_2000;
const POLL: u64 = 0x10;

fn head() -> Reply {
    Reply::Outside(Outside {
        pause_ns: MS,
        read_standing: None,
        copy_ns: Some(5_000_000),
        has_tokio: true,
        threads_not_stopped: 0,
        agent_told_after_ns: Some(AFTER),
    })
}

/// Makes a dump of an agent's frames followed by two stacks, two polls and these tasks, as read.
fn joined(mut agents: Vec<Reply>, found: Vec<Found>) -> Dump {
    agents.extend([
        head(),
        Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
        trace(2),
        trace(3),
        Reply::Untracked(found),
        end(),
    ]);
    receive(agents).unwrap()
}

fn of_tasks(told: Vec<Told>, found: Vec<Found>) -> Dump {
    let stacks = Reply::Stacks(Stacks(vec![vec![0x61], vec![0x62], vec![0x63]]));
    joined(vec![stacks, Reply::Tasks(told)], found)
}

/// Makes a tracked task that has waited for a second and whose waker points to the cell.
fn waiting(id: u64, stacks: &[u32]) -> Told {
    Told {
        mark: MARK + id,
        cell: Some(CELL),
        ..told(id, 0, stacks)
    }
}

/// Makes a task polled in parts, with nobody asking for the next one.
fn held_back(told: Told) -> Told {
    Told {
        state: TaskState::HeldBack {
            since_ns: told.state.since_ns(),
        },
        ..told
    }
}

/// Makes an idle task in that cell.
fn idle() -> Found {
    Found {
        cell: Some(CELL),
        has_join_handle: true,
        trace: Some(TraceId(0)),
        ..untracked(70, POLL, &[])
    }
}

fn in_state(state: UntrackedState) -> Found {
    Found { state, ..idle() }
}

/// Makes a task wait in these places, each inside a tracked future.
fn waits_at(places: &[(u32, u64)], found: Found) -> Found {
    let leaves = places.iter().map(|(stack, inside)| UntrackedLeaf {
        leaf: leaf(*stack),
        awaits: None,
        inside: *inside,
    });
    Found {
        leaves: leaves.collect(),
        ..found
    }
}

fn marked(mark: u64, found: Found) -> Found {
    Found {
        cell: Some(CELL + 0x1000),
        mark: Some(mark),
        ..found
    }
}

/// Returns the only task of a dump, and what memory shows about it.
fn only(dump: &Dump) -> (&Task, Option<&Memory>) {
    let [task] = dump.tasks.as_slice() else {
        panic!("{:?}", dump.tasks);
    };
    (task, task.memory())
}

fn keys(dump: &Dump) -> Vec<TaskKey> {
    dump.tasks.iter().map(|task| task.key).collect()
}

const TRACKED: TaskKey = TaskKey::Tracked(1);
const FOUND: TaskKey = TaskKey::Untracked(0);

#[test]
fn a_task_is_known_by_where_its_waker_leads() {
    let dump = of_tasks(vec![waiting(1, &[])], vec![idle()]);
    let (task, memory) = only(&dump);
    assert_eq!(task.key, TRACKED);
    assert_eq!(task.trace, Some(TraceId(0)));
    let memory = memory.unwrap();
    assert_eq!((memory.number, memory.cell), (Some(70), Some(CELL)));
    assert!(memory.has_join_handle);
    // Known only to the agent.
    assert_eq!(task.since(), Some(Duration::from_nanos(SECOND)));
    assert_eq!(task.tracked().unwrap().polls, 3);
}

#[test]
fn a_task_without_a_waker_is_known_by_its_mark() {
    let new = Told {
        cell: None,
        state: TaskState::New { since_ns: SECOND },
        waker: WakerState::NotKnown,
        ..waiting(1, &[])
    };
    let found = marked(MARK + 1, in_state(UntrackedState::Woken));
    let dump = of_tasks(vec![new], vec![found]);
    let (task, memory) = only(&dump);
    assert_eq!((task.key, task.state), (TRACKED, State::New));
    assert_eq!(task.trace, Some(TraceId(0)));
    assert!(memory.is_some());
    // As while its waker is being replaced.
    let polled = Told {
        cell: None,
        ..waiting(1, &[])
    };
    let dump = of_tasks(vec![polled], vec![marked(MARK + 1, idle())]);
    assert_eq!(only(&dump).0.state, State::Waiting);
    // A mark of no tracked task.
    let dump = of_tasks(vec![waiting(1, &[])], vec![marked(MARK + 2, idle())]);
    assert_eq!(keys(&dump), [TRACKED, FOUND]);
}

#[test]
fn a_task_that_holds_what_is_not_polled_yet_is_another() {
    let new = Told {
        cell: None,
        state: TaskState::New { since_ns: SECOND },
        waker: WakerState::NotKnown,
        ..waiting(1, &[])
    };
    for state in [
        UntrackedState::Idle,
        UntrackedState::Running { tid: Some(7) },
    ] {
        let found = marked(MARK + 1, in_state(state));
        let dump = of_tasks(vec![new.clone()], vec![found]);
        assert_eq!(keys(&dump), [TRACKED, FOUND]);
        assert_eq!(dump.tasks[0].trace, None);
    }
}

fn closure(id: u64, state: TaskState) -> Told {
    Told {
        kind: TaskKind::Blocking,
        state,
        waker: WakerState::NotKnown,
        cell: None,
        ..waiting(id, &[])
    }
}

#[test]
fn a_closure_is_known_by_the_thread_that_runs_it_or_by_its_mark() {
    let running = |since_ns| TaskState::Running { tid: 7, since_ns };
    let found = |tid| Found {
        found_by: FoundBy::Thread,
        trace: None,
        ..in_state(UntrackedState::Blocking { tid: Some(tid) })
    };
    let dump = of_tasks(vec![closure(1, running(SECOND))], vec![found(7)]);
    let (task, memory) = only(&dump);
    assert_eq!(task.state, State::Running { tid: Some(7) });
    assert!(memory.is_some());
    let dump = of_tasks(vec![closure(1, running(SECOND))], vec![found(8)]);
    assert_eq!(keys(&dump), [TRACKED, FOUND]);
    // It waited for a thread when the process stood still, and that thread was
    // running another closure.
    let dump = of_tasks(vec![closure(1, running(SINCE))], vec![found(7)]);
    assert_eq!(keys(&dump), [TRACKED, FOUND]);
    // Until it runs, a closure is in its cell.
    let queued = marked(MARK + 1, in_state(UntrackedState::Queued));
    let new = TaskState::New { since_ns: SECOND };
    let dump = of_tasks(vec![closure(1, new)], vec![queued]);
    assert_eq!(only(&dump).0.state, State::New);
}

#[test]
fn a_task_that_was_polled_since_is_shown_as_it_was_when_the_process_stood_still() {
    let (since_ns, on_nine) = (SINCE, Some(9));
    for now in [
        TaskState::Suspended { since_ns },
        TaskState::Running { since_ns, tid: 7 },
        TaskState::Starved { since_ns },
    ] {
        let moved = || Told {
            state: now,
            waker: WakerState::NotKnown,
            ..waiting(1, &[])
        };
        for (read, then) in [
            (UntrackedState::Idle, State::Waiting),
            (UntrackedState::Woken, State::Woken),
            (
                UntrackedState::Running { tid: on_nine },
                State::Running { tid: on_nine },
            ),
        ] {
            let found = Found {
                wakers: 2,
                leaves: untracked(0, POLL, &[1]).leaves,
                ..in_state(read)
            };
            let dump = of_tasks(vec![moved()], vec![found]);
            let (task, memory) = only(&dump);
            assert_eq!((task.key, task.state), (TRACKED, then), "{now:?} {read:?}");
            assert_eq!(task.trace, Some(TraceId(0)));
            assert_eq!(dump.stack(task.leaves[0].stack), [0x72]);
            assert_eq!(memory.unwrap().number, Some(70));
            // The agent does not know how long it had been in that state.
            assert_eq!((task.since(), task.has_moved()), (None, false));
        }
        // Without memory, only the agent's word is left.
        let dump = of_tasks(vec![moved()], Vec::new());
        let (task, _) = only(&dump);
        assert_eq!(task.since(), Some(Duration::from_nanos(SINCE)));
        assert!(task.has_moved());
    }
    // Why it was unknown where it waited then.
    let locked = Found {
        found_by: FoundBy::Unresolved(Unresolved::Locked),
        ..idle()
    };
    let moved = Told {
        state: TaskState::Suspended { since_ns },
        ..waiting(1, &[])
    };
    let dump = of_tasks(vec![moved], vec![locked.clone()]);
    assert_eq!(only(&dump).0.found_by(), Some(locked.found_by));
}

#[test]
fn a_task_that_was_polled_last_at_that_instant_has_not_moved() {
    for (since_ns, since) in [
        (AFTER, Some(Duration::from_nanos(AFTER))),
        (AFTER - 1, None),
    ] {
        let told = Told {
            state: TaskState::Suspended { since_ns },
            ..waiting(1, &[])
        };
        let dump = of_tasks(vec![told], vec![idle()]);
        assert_eq!(only(&dump).0.since(), since);
    }
}

#[test]
fn a_task_that_was_made_since_was_not_there() {
    let made_since = Told {
        age_ns: SINCE,
        state: TaskState::Suspended { since_ns: MS },
        ..waiting(1, &[])
    };
    // The former owner of its cell or mark was another task.
    let by_mark = Told {
        cell: None,
        ..made_since.clone()
    };
    for (told, found) in [
        (made_since.clone(), idle()),
        (by_mark, marked(MARK + 1, idle())),
    ] {
        let dump = of_tasks(vec![told], vec![found]);
        assert_eq!(keys(&dump), [FOUND]);
        assert_eq!(dump.tasks[0].trace, Some(TraceId(0)));
    }
    let span = Told {
        parent: 2,
        kind: TaskKind::Span,
        ..made_since.clone()
    };
    let made_then = Told {
        id: 3,
        age_ns: AFTER,
        state: TaskState::Suspended { since_ns: AFTER },
        cell: None,
        ..made_since.clone()
    };
    let dump = of_tasks(vec![made_since, waiting(2, &[]), span, made_then], vec![]);
    assert_eq!(keys(&dump), [TaskKey::Tracked(2), TaskKey::Tracked(3)]);
}

#[test]
fn of_several_tracked_futures_in_one_task_none_gets_its_poll() {
    // They were probed.
    let several = vec![waiting(1, &[0]), waiting(2, &[1])];
    let dump = of_tasks(several, vec![idle()]);
    // The task is replaced by its parts.
    assert_eq!(keys(&dump), [TRACKED, TaskKey::Tracked(2)]);
    for task in &dump.tasks {
        assert_eq!((task.trace, task.leaves.len()), (None, 1));
        assert_eq!(task.memory(), None);
    }
}

#[test]
fn a_span_is_no_task_of_its_own() {
    let span = Told {
        parent: 1,
        kind: TaskKind::Span,
        ..waiting(2, &[])
    };
    let dump = of_tasks(vec![waiting(1, &[]), span], vec![idle()]);
    let traces = dump.tasks.iter().map(|task| task.trace);
    assert_eq!(traces.collect::<Vec<_>>(), [Some(TraceId(0)), None]);
}

#[test]
fn a_task_of_which_no_agent_tells_stays_untracked() {
    let other = Found {
        cell: Some(CELL + 0x1000),
        trace: Some(TraceId(1)),
        ..untracked(71, POLL, &[])
    };
    let ended = in_state(UntrackedState::Completed);
    let dump = of_tasks(vec![waiting(1, &[])], vec![ended, idle(), other]);
    // It is identified by its position among all untracked tasks.
    assert_eq!(keys(&dump), [TRACKED, TaskKey::Untracked(2)]);
    let [first, second] = dump.tasks.as_slice() else {
        panic!("{:?}", dump.tasks);
    };
    assert_eq!(first.trace, Some(TraceId(0)));
    assert_eq!(second.trace, Some(TraceId(1)));
    assert_eq!(second.memory().unwrap().number, Some(71));
    assert_eq!(dump.number(second.key), 4);
    assert_eq!(dump.kept.values().sum::<usize>(), 1);
}

#[test]
fn a_poll_in_memory_tells_more_than_the_stacks_of_a_probe_unless_it_was_given_up() {
    let found = |found_by| Found {
        found_by,
        leaves: untracked(0, POLL, &[1]).leaves,
        ..idle()
    };
    let dump = of_tasks(vec![waiting(1, &[2])], vec![found(FoundBy::Steps)]);
    let (task, _) = only(&dump);
    assert_eq!(task.leaves.len(), 1);
    assert_eq!(dump.stack(task.leaves[0].stack), [0x72]);
    assert_eq!(task.trace, Some(TraceId(0)));
    assert_eq!(task.found_by(), Some(FoundBy::Steps));
    // A poll that was given up shows less than a probe,
    let locked = FoundBy::Unresolved(Unresolved::Locked);
    let dump = of_tasks(vec![waiting(1, &[2])], vec![found(locked)]);
    let (task, memory) = only(&dump);
    assert_eq!((task.leaves.len(), task.trace), (1, None));
    assert_eq!(dump.stack(task.leaves[0].stack), [0x63]);
    assert_eq!(task.found_by(), None);
    assert_eq!(memory.unwrap().found_by, locked);
    // but more than nothing.
    let dump = of_tasks(vec![waiting(1, &[])], vec![found(locked)]);
    let (task, _) = only(&dump);
    assert_eq!(dump.stack(task.leaves[0].stack), [0x72]);
    assert_eq!(task.trace, Some(TraceId(0)));
    assert_eq!(task.found_by(), Some(locked));
}

#[test]
fn of_a_task_that_was_not_polled_since_both_tell_what_it_does() {
    use UntrackedState as Read;
    let since_ns = SECOND;
    let suspended = TaskState::Suspended { since_ns };
    let (held, none) = (WakerState::Held(1), WakerState::None);
    let not_known = WakerState::NotKnown;
    let running = TaskState::Running { since_ns, tid: 7 };
    let on_seven = State::Running { tid: Some(7) };
    let on_eight = Read::Running { tid: Some(8) };
    let starved = TaskState::Starved { since_ns };
    for (told, waker, read, state, wakers) in [
        (suspended, held, Read::Idle, State::Waiting, held),
        (suspended, held, Read::Woken, State::Woken, held),
        // Memory has one waker of it, which the agent keeps.
        (suspended, none, Read::Idle, State::Never, none),
        (starved, held, Read::Idle, State::Starved, held),
        (starved, held, Read::Woken, State::Starved, held),
        (
            running,
            held,
            Read::Running { tid: None },
            on_seven,
            not_known,
        ),
        // It was between two states.
        (running, held, Read::Idle, on_seven, held),
        (suspended, held, on_eight, State::Waiting, not_known),
    ] {
        let task = Told {
            state: told,
            waker,
            ..waiting(1, &[])
        };
        let dump = of_tasks(vec![task], vec![in_state(read)]);
        let (task, _) = only(&dump);
        let does = (task.state, task.waker);
        assert_eq!(does, (state, wakers), "{told:?} {waker:?} {read:?}");
    }
    let ready = Found {
        found_by: FoundBy::Ready,
        ..idle()
    };
    let dump = of_tasks(vec![waiting(1, &[])], vec![ready]);
    assert_eq!(only(&dump).0.state, State::Ready);
    // The agent knows the thread that polls it; memory does not.
    let task = Told {
        state: running,
        ..waiting(1, &[])
    };
    let lost = Found {
        found_by: FoundBy::Unresolved(Unresolved::NoThread),
        trace: None,
        ..in_state(Read::Running { tid: None })
    };
    assert_eq!(only(&of_tasks(vec![task], vec![lost])).0.found_by(), None);
}

#[test]
fn what_is_held_back_is_not_the_task_around_it() {
    for found in [idle(), in_state(UntrackedState::Woken)] {
        let agents = vec![Reply::Tasks(vec![held_back(waiting(1, &[]))])];
        let dump = joined(agents, vec![found]);
        assert_eq!(keys(&dump), [TRACKED, FOUND]);
        let [held_back, around] = dump.tasks.as_slice() else {
            panic!("{:?}", dump.tasks);
        };
        assert_eq!((held_back.state, held_back.trace), (State::HeldBack, None));
        assert_eq!(around.trace, Some(TraceId(0)));
    }
    // If another future is polled in the same task, the task waits in that one.
    let tasks = Reply::Tasks(vec![held_back(waiting(1, &[])), waiting(2, &[])]);
    let dump = joined(vec![tasks], vec![idle()]);
    let traces = dump.tasks.iter().map(|task| task.trace);
    assert_eq!(traces.collect::<Vec<_>>(), [None, Some(TraceId(0))]);
}

/// Makes the future that a thread polls inside `block_on`.
fn block_on(mark: Option<u64>) -> Found {
    Found {
        number: None,
        cell: None,
        mark,
        state: UntrackedState::BlockOn { tid: 7 },
        trace: Some(TraceId(1)),
        ..idle()
    }
}

#[test]
fn a_tracked_future_in_block_on_is_known_by_its_mark() {
    // Its waker points to what the thread is parked on.
    let main = waiting(1, &[]);
    let dump = of_tasks(vec![main], vec![block_on(Some(MARK + 1))]);
    let (task, _) = only(&dump);
    assert_eq!((task.key, task.kind), (TRACKED, TaskKind::Task));
    assert_eq!((task.state, task.trace), (State::Waiting, Some(TraceId(1))));
    assert_eq!(task.block_on(), Some(7));
}

#[test]
fn a_task_that_has_a_cell_is_not_what_a_thread_polls_that_has_its_mark_on_the_stack() {
    let found = vec![idle(), block_on(Some(MARK + 1))];
    let dump = of_tasks(vec![waiting(1, &[])], found);
    assert_eq!(keys(&dump), [TRACKED, TaskKey::Untracked(1)]);
    let [task, block_on] = dump.tasks.as_slice() else {
        panic!("{:?}", dump.tasks);
    };
    assert_eq!((task.trace, task.block_on()), (Some(TraceId(0)), None));
    assert_eq!(block_on.block_on(), Some(7));
}
