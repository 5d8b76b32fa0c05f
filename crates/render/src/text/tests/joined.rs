//! Tasks that an agent reports and that were also read from memory.

use rtops_protocol::{
    FoundBy, StringId, Strings, Task, TaskState, TraceId, TraceOrder, WakerState,
};
use rtops_report::{
    dump::fixtures::{end, of_agent, on, poll, task, thread},
    frames::fixtures::with_code,
};

use super::*;

const SECOND: u64 = 1_000_000_000;
/// Less than the time until the agent was asked.
const SINCE: u64 = 400_000;
const CELL: u64 = 0x7f00_0000_1000;

#[test]
fn an_agent_alone_says_what_a_look_from_outside_would_show() {
    let lost = Task {
        waker: WakerState::None,
        ..task(1, 0, &[])
    };
    let dump = receive(vec![Reply::Tasks(vec![lost]), end()]).unwrap();
    let text = text(&dump, &named(&[]), &Selection::default());
    let remark =
        "(where it waits without a waker only shows where the process is looked at from outside)";
    assert!(text.contains(remark), "{text}");
}

#[test]
fn what_is_tracked_is_shown_with_what_was_read_of_it() {
    let code = [
        (1, "app::around::{async_fn#0}:10"),
        (2, "app::around::{async_fn#0}:12"),
        (
            3,
            "app::serve::{async_fn#0}:20 rtops_tasks::Tracked::poll:1 app::around::{async_fn#0}:12",
        ),
        (
            4,
            "app::serve::{async_fn#0}:22 rtops_tasks::Tracked::poll:1 app::around::{async_fn#0}:12",
        ),
    ];
    let stacks = [
        "app::recv app::serve",
        "spin rtops_tasks::Tracked::poll run",
        "park tokio::runtime::park::CachedParkThread::block_on main",
    ];
    let polled = || poll(TraceOrder::LastRun, 1..5);
    let serve = |id, state| Task {
        cell: Some(CELL + id),
        name: StringId(1),
        state,
        waker: WakerState::None,
        ..task(id, 0, &[])
    };
    let suspended = |since_ns| TaskState::Suspended { since_ns };
    let since_ns = SINCE;
    let told = vec![
        // It registered nothing, so only its poll shows where it waits.
        serve(1, suspended(SECOND)),
        // These were polled since.
        serve(2, suspended(SINCE)),
        serve(3, TaskState::Running { since_ns, tid: 7 }),
        serve(4, suspended(SINCE)),
        // These were not found in memory.
        serve(5, suspended(SECOND)),
        serve(6, TaskState::Running { since_ns, tid: 8 }),
        Task {
            name: StringId(2),
            waker: WakerState::Held(1),
            ..serve(7, suspended(7 * SECOND))
        },
    ];
    let found = |id, wakers| Untracked {
        cell: Some(CELL + id),
        has_join_handle: true,
        trace: Some(TraceId(0)),
        wakers,
        ..untracked(70, SERVE, &[])
    };
    let block_on = Untracked {
        number: None,
        cell: None,
        mark: Some(0x70),
        state: UntrackedState::BlockOn { tid: 7 },
        trace: Some(TraceId(1)),
        ..found(0, 1)
    };
    let dump = receive(vec![
        Reply::Process(Process {
            name: "gateway".to_owned(),
            tracked_on_tokio: Some(6),
            alive_on_tokio: Some(7),
            tracking: None,
        }),
        Reply::Strings(Strings(vec!["serve".to_owned(), "main".to_owned()])),
        Reply::Stacks(Stacks(vec![vec![0x61]])),
        Reply::Tasks(told),
        Reply::Threads(vec![of_agent(7, "main"), of_agent(8, "worker")]),
        outside(),
        Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
        Reply::Threads(vec![
            thread(7, Some("main"), on(1)),
            thread(8, Some("worker"), on(0)),
        ]),
        polled(),
        polled(),
        Reply::Untracked(vec![found(1, 1), found(2, 2), found(3, 2), found(9, 1)]),
        Reply::Untracked(vec![
            Untracked {
                state: UntrackedState::Running { tid: Some(8) },
                found_by: FoundBy::Thread,
                trace: None,
                ..found(4, 2)
            },
            block_on,
        ]),
        end(),
    ])
    .unwrap();
    let frames = with_code(named(&stacks), &code);
    insta::assert_snapshot!(text(&dump, &frames, &Selection::default()), @r#"
    gateway (pid 4711): 8 tasks in 7 groups, 7 of 7 alive; 2 threads
    looked at from outside; it stood still for 1.5 ms

    2 tasks "serve" [waiting]
        app::serve  src/app.rs:22

    1 task "main" [waiting, 7.0 s]
        app::serve  src/app.rs:22
        polled by thread 7

    1 task "serve" [never: no waker is registered, so nothing can wake it, 1.0 s]
        app::serve  src/app.rs:22

    1 task "serve" [never: no waker is registered, so nothing can wake it, 1.0 s; age 5.0 s]
        (where it waits without a waker is not known)

    1 task "serve" [running for 0 ms on thread 8 (worker); age 6.0 s]
        (what it does is not known: its poll began after the process stood still)

    1 task "serve" [running on thread 8 (worker)]
        spin  src/spin.rs:7:9

    1 task app::serve [waiting]
        app::around                 src/app.rs:12
        rtops_tasks::Tracked::poll  src/app.rs:1
        app::serve                  src/app.rs:22

    1 thread "main" [sleeping, block_on]
        main                                              src/main.rs:7:9
        tokio::runtime::park::CachedParkThread::block_on  src/tokio::runtime::park::CachedParkThread::block_on.rs:7:9
        park                                              src/park.rs:7:9

    1 thread "worker" [sleeping, futex wait]
        run                         src/run.rs:7:9
        rtops_tasks::Tracked::poll  src/rtops_tasks::Tracked::poll.rs:7:9
        spin                        src/spin.rs:7:9
    "#);
}
