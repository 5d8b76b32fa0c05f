//! Threads and stacks of a joined dump, and what is shown of it.

use rtops_protocol::{Module, ModuleKind, Process, StringId, Strings, TraceOrder};

use super::*;
use crate::{
    dump::tests::poll,
    frames::tests::with_code,
    group::Selection,
    untracked::tests::{named, text},
};

fn thread(tid: i32, name: Option<&str>, capture: ThreadCapture) -> Thread {
    Thread {
        tid,
        name: name.map(str::to_owned),
        state: None,
        wchan: None,
        syscall: Some(202),
        cpu_ticks: None,
        timeslices: None,
        capture,
    }
}

fn on(stack: u32) -> ThreadCapture {
    ThreadCapture::Stack(Leaf {
        stack: StackId(stack),
        end: LeafEnd::Complete,
    })
}

/// What an agent tells of a thread, which it does not interrupt.
fn of_agent(tid: i32, name: &str) -> Thread {
    Thread {
        state: Some('S'),
        wchan: Some("futex_wait".to_owned()),
        cpu_ticks: Some(40),
        timeslices: Some(7),
        ..thread(tid, Some(name), ThreadCapture::Off)
    }
}

#[test]
fn threads_are_those_that_were_read_with_what_the_agent_knows_of_them() {
    let told = vec![
        of_agent(1, "main"),
        Thread {
            capture: ThreadCapture::Agent,
            ..of_agent(2, "rtops")
        },
        of_agent(3, "worker"),
        of_agent(4, "late"),
        // It came later.
        of_agent(9, "new"),
    ];
    let read = vec![
        thread(1, Some("main"), on(0)),
        thread(2, Some("rtops"), on(1)),
        // It has gone on since.
        Thread {
            state: Some('R'),
            syscall: None,
            ..thread(3, Some("worker"), on(1))
        },
        // It had no name yet when these were read.
        thread(4, None, ThreadCapture::Absent),
        thread(5, Some(CLIENT_THREAD), on(1)),
        thread(6, Some("unknown"), on(1)),
    ];
    let dump = receive(vec![
        Reply::Threads(told),
        head(),
        Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
        Reply::Threads(read),
        end(),
    ])
    .unwrap();
    let joined = |tid, name: &str, capture| Thread {
        capture,
        ..of_agent(tid, name)
    };
    assert_eq!(
        dump.threads,
        [
            joined(1, "main", on(0)),
            joined(2, "rtops", ThreadCapture::Agent),
            Thread {
                state: Some('R'),
                wchan: None,
                syscall: None,
                ..joined(3, "worker", on(1))
            },
            joined(4, "late", ThreadCapture::Absent),
            thread(6, Some("unknown"), on(1)),
        ]
    );
}

#[test]
fn stacks_behind_the_head_are_numbered_anew() {
    let found = Found {
        leaves: untracked(0, POLL, &[1]).leaves,
        ..idle()
    };
    let replies = |last: u32| {
        vec![
            Reply::Stacks(Stacks(vec![vec![0x61], vec![0x62], vec![0x63]])),
            Reply::Tasks(vec![Told {
                cell: None,
                ..waiting(1, &[1])
            }]),
            head(),
            Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
            Reply::Threads(vec![thread(7, None, on(last))]),
            trace(2),
            Reply::Untracked(vec![found.clone()]),
            end(),
        ]
    };
    let dump = receive(replies(0)).unwrap();
    let of_tasks = dump.tasks.iter().map(|task| task.leaves[0].stack);
    let of_threads = dump.threads.iter().map(|thread| match thread.capture {
        ThreadCapture::Stack(leaf) => leaf.stack,
        _ => panic!("{thread:?}"),
    });
    let stacks = of_tasks.chain(of_threads).map(|stack| dump.stack(stack));
    assert_eq!(stacks.collect::<Vec<_>>(), [[0x62], [0x72], [0x71]]);
    // Those of the agent are none that were read.
    for last in [2, u32::MAX - 1, u32::MAX] {
        let failure = receive(replies(last));
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }
}

#[test]
fn modules_are_those_that_were_read() {
    let module = |path: &str| Module {
        path: path.to_owned(),
        build_id: Vec::new(),
        load_bias: 0,
        code: 0..9,
        kind: ModuleKind::MainExecutable,
    };
    let modules = |path: &str| Reply::Modules(vec![module(path)]);
    let dump = receive(vec![modules("in/it"), head(), modules("outside"), end()]).unwrap();
    assert_eq!(dump.modules, [module("outside")]);
}

#[test]
fn two_heads_are_refused() {
    let failure = receive(vec![head(), head(), end()]);
    assert!(matches!(failure, Err(Failure::Nonsense(_))));
}

#[test]
fn nothing_is_joined_where_no_agent_was_asked() {
    let Reply::Outside(outside) = head() else {
        panic!();
    };
    let alone = Reply::Outside(Outside {
        agent_told_after_ns: None,
        ..outside
    });
    let tasks = Reply::Untracked(vec![marked(MARK + 1, idle())]);
    let dump = receive(vec![alone, trace(2), tasks, end()]).unwrap();
    assert_eq!(keys(&dump), [FOUND]);
}

#[test]
fn an_agent_alone_says_what_a_look_from_outside_would_show() {
    let lost = Told {
        waker: WakerState::None,
        ..waiting(1, &[])
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
    let serve = |id, state| Told {
        cell: Some(CELL + id),
        name: StringId(1),
        state,
        waker: WakerState::None,
        ..waiting(id, &[])
    };
    let suspended = |since_ns| TaskState::Suspended { since_ns };
    let since_ns = SINCE;
    let told = vec![
        // It registered nothing: only its poll shows where it waits.
        serve(1, suspended(SECOND)),
        // Those were polled since.
        serve(2, suspended(SINCE)),
        serve(3, TaskState::Running { since_ns, tid: 7 }),
        serve(4, suspended(SINCE)),
        // No memory of these was found.
        serve(5, suspended(SECOND)),
        serve(6, TaskState::Running { since_ns, tid: 8 }),
        Told {
            name: StringId(2),
            waker: WakerState::Held(1),
            ..serve(7, suspended(7 * SECOND))
        },
    ];
    let found = |id, wakers| Found {
        cell: Some(CELL + id),
        wakers,
        ..idle()
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
        head(),
        Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
        Reply::Threads(vec![
            thread(7, Some("main"), on(1)),
            thread(8, Some("worker"), on(0)),
        ]),
        polled(),
        polled(),
        Reply::Untracked(vec![found(1, 1), found(2, 2), found(3, 2), found(9, 1)]),
        Reply::Untracked(vec![
            Found {
                state: UntrackedState::Running { tid: Some(8) },
                found_by: FoundBy::Thread,
                trace: None,
                ..found(4, 2)
            },
            block_on(Some(MARK + 7)),
        ]),
        end(),
    ])
    .unwrap();
    let frames = with_code(named(&stacks), &code);
    insta::assert_snapshot!(text(&dump, &frames, &Selection::default()), @r#"
    gateway (pid 4711): 8 tasks in 7 groups, 7 of 7 alive; 2 threads
    looked at from outside; it stood still for 1.0 ms

    2 tasks "serve" [waiting]
        app::serve  src/app.rs:22

    1 task "main" [waiting, 7.0 s]
        app::serve  src/app.rs:22
        polled by thread 7

    1 task "serve" [never: no waker is registered, so nothing can wake it, 1.0 s]
        app::serve  src/app.rs:22

    1 task "serve" [never: no waker is registered, so nothing can wake it, 1.0 s; age 5.0 s]
        (where it waits without a waker is not known)

    1 task "serve" [running for 2 ms on thread 8 (worker); age 6.0 s]
        (what it does is not known: its poll began after the process stood still)

    1 task "serve" [running on thread 8 (worker)]
        spin  src/spin.rs:7:9

    1 task app::serve [waiting]
        app::serve                  src/app.rs:22
        rtops_tasks::Tracked::poll  src/app.rs:1
        app::around                 src/app.rs:12

    1 thread "main" [sleeping, parked]
        park                                              src/park.rs:7:9
        tokio::runtime::park::CachedParkThread::block_on  src/tokio::runtime::park::CachedParkThread::block_on.rs:7:9
        main                                              src/main.rs:7:9

    1 thread "worker" [sleeping, futex wait]
        spin                        src/spin.rs:7:9
        rtops_tasks::Tracked::poll  src/rtops_tasks::Tracked::poll.rs:7:9
        run                         src/run.rs:7:9
    "#);
}
