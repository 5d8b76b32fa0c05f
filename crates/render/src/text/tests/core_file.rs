//! Dumps of core files: tasks that are not idle, threads without names.

use rtops_protocol::{Access, CoreHead, Signal, Trace, TraceEnd, TraceOrder};
use rtops_report::{
    census::Census,
    dump::fixtures::{leaf, poll},
    frames::fixtures::{traced, with_code, with_futures, with_nameless_futures},
    untracked::fixtures::{CODE, futures, polled},
};

use super::*;

fn head(signal: Option<Signal>) -> Reply {
    Reply::Core(CoreHead {
        program: "gateway".to_owned(),
        arguments: "gateway --listen 80".to_owned(),
        pid: Some(4711),
        thread: signal.map(|_| 4713),
        was_alive: signal.is_none(),
        has_tokio: true,
        signal,
        time: Some(1_769_860_800),
        host: Some("web-1".to_owned()),
    })
}

fn null_write() -> Signal {
    Signal {
        number: 11,
        code: Some(1),
        address: Some(0),
        access: Some(Access::Write),
        sender: None,
    }
}

fn dump(mut replies: Vec<Reply>) -> Dump {
    replies.push(end());
    receive(replies).unwrap()
}

#[test]
fn tasks_that_are_not_idle_say_what_an_image_tells() {
    let state = |state, task| Untracked { state, ..task };
    let ended = |poll| state(UntrackedState::Completed, untracked(9, poll, &[]));
    let fault = unresolved(4, PUMP, Unresolved::Fault);
    let tasks = vec![
        polled(1, FoundBy::Steps, 0),
        // Two wakers: one of them has queued it, so it was polled before.
        Untracked {
            wakers: 2,
            ..state(UntrackedState::Woken, polled(2, FoundBy::Steps, 1))
        },
        state(UntrackedState::Woken, untracked(3, SERVE, &[])),
        fault,
        polled(5, FoundBy::Ready, 1),
        ended(PUMP),
        ended(SERVE),
        ended(PUMP),
    ];
    let dump = dump(vec![
        head(None),
        poll(TraceOrder::LastRun, [1, 2].into_iter()),
        poll(TraceOrder::FirstRun, [1, 5, 3, 4].into_iter()),
        Reply::Untracked(tasks),
    ]);
    let frames = with_futures(traced(&CODE), &futures());
    insta::assert_snapshot!(text(&dump, &frames, &Selection::default()), @r"
    gateway (pid 4711) was dumped alive, 2026-01-31T12:00:00Z on web-1
    5 tasks in 5 groups; 1 only by type: 1 outside of the core file; 0 threads

    1 task app::serve [waiting]
        app::serve  src/app.rs:12

    1 task app::serve [woken, resumes at src/app.rs:30]
        app::serve        src/app.rs:15
        app::Timer::poll  src/app.rs:30

    1 task app::serve [woken or new, and about to be polled]

    1 task app::Pump<app::pump::{async block}> [waiting]
        (await not resolved: its poll needs memory that the core file lacks)

    1 task app::serve [ready: nobody has woken it]
        app::serve        src/app.rs:15
        app::Timer::poll  src/app.rs:30

    3 ended tasks are kept by their join handles: 2 x app::Pump<app::pump::{async block}>, 1 x app::serve
    ");
    // Ended tasks no longer count as tasks.
    let groups = group_tasks(&dump, &frames, &Selection::default(), Grouping::Equal);
    assert_eq!(Census::of(&groups).count.tasks, 5);
}

#[test]
fn a_poll_that_was_given_up_says_why_and_shows_how_far_it_came() {
    let cut = |end, visits: Reply| match visits {
        Reply::Trace(trace) => Reply::Trace(Trace { end, ..trace }),
        other => other,
    };
    let given_up = |why| {
        let visits = poll(TraceOrder::LastRun, [1, 2].into_iter());
        cut(TraceEnd::GivenUp(why), visits)
    };
    let woken = |task| Untracked {
        state: UntrackedState::Woken,
        ..task
    };
    let why = FoundBy::Unresolved;
    let registered = Untracked {
        leaves: untracked(0, SERVE, &[0]).leaves,
        ..polled(4, why(Unresolved::Fault), 1)
    };
    let dump = dump(vec![
        head(None),
        Reply::Stacks(Stacks(vec![vec![0x1000]])),
        given_up(Unresolved::Locked),
        given_up(Unresolved::Fault),
        cut(
            TraceEnd::TooLong,
            poll(TraceOrder::LastRun, [1, 3].into_iter()),
        ),
        Reply::Untracked(vec![
            woken(polled(1, why(Unresolved::Locked), 0)),
            woken(polled(2, FoundBy::Steps, 2)),
            woken(unresolved(3, PUMP, Unresolved::NoTime)),
            registered,
        ]),
    ]);
    let frames = with_futures(with_code(named(&["app::timer"]), &CODE), &futures());
    insta::assert_snapshot!(text(&dump, &frames, &Selection::default()), @r"
    gateway (pid 4711) was dumped alive, 2026-01-31T12:00:00Z on web-1
    4 tasks in 4 groups; 1 only by type: 1 ran out of time; 2 seen in part: 1 locked, 1 outside of the core file; 0 threads

    1 task app::serve [woken or new, goes on at src/app.rs:12]
        app::serve  src/app.rs:12
        (more may be missing: its poll waited for a lock that another thread held)

    1 task app::serve [woken or new, goes on at src/app.rs:13]
        app::serve  src/app.rs:13
        (more may be missing: the poll took too many steps)

    1 task app::Pump<app::pump::{async block}> [woken or new, and about to be polled]
        (await not resolved: no time was left; raise --timeout)

    1 task app::serve [waiting]
        app::serve  src/app.rs:12
        app::timer  src/app::timer.rs:7:9
        (more may be missing: its poll needs memory that the core file lacks)
    ");
}

#[test]
fn an_executor_inside_block_on_says_that_it_runs_its_tasks() {
    const TICK: &str = "tokio::task::local::LocalSet::register tokio::task::local::LocalSet::poll";
    let code = [(
        1,
        "tokio::task::local::LocalSet::poll:2 tokio::runtime::park::block_on:1",
    )];
    let local_set = Untracked {
        state: UntrackedState::BlockOn { tid: 4712 },
        ..polled(0, FoundBy::Steps, 0)
    };
    let local_set = Untracked {
        number: None,
        cell: None,
        leaves: untracked(0, SERVE, &[0]).leaves,
        ..local_set
    };
    let dump = dump(vec![
        head(None),
        Reply::Stacks(Stacks(vec![vec![0x1000, 0x1001]])),
        poll(TraceOrder::LastRun, [1].into_iter()),
        Reply::Untracked(vec![local_set]),
    ]);
    let frames = with_nameless_futures(with_code(named(&[TICK]), &code), &dump, &[SERVE]);
    let text = text(&dump, &frames, &Selection::default());
    let (_, group) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(group, @r"
    1 block_on future tokio::task::local::LocalSet [waiting]
        (it waits for nothing itself: it runs its tasks)
        polled by thread 4712
    ");
}

#[test]
fn the_thread_that_crashed_comes_first_and_nothing_speaks_of_an_agent() {
    let stacks = [
        "park tokio::runtime::park::CachedParkThread::block_on main",
        "write_null run",
    ];
    let thread = |tid, capture| Thread {
        syscall: None,
        ..thread(tid, None, capture)
    };
    let cut_off = Leaf {
        end: LeafEnd::Absent,
        ..leaf(1)
    };
    let dump = dump(vec![
        head(Some(null_write())),
        Reply::Stacks(Stacks(vec![vec![0x1000], vec![0x1001]])),
        poll(TraceOrder::LastRun, [1, 2].into_iter()),
        Reply::Untracked(vec![polled(1, FoundBy::Steps, 0)]),
        Reply::Threads(vec![
            thread(4711, on(0)),
            thread(4712, on(0)),
            thread(4713, ThreadCapture::Stack(cut_off)),
            thread(4714, ThreadCapture::Absent),
        ]),
    ]);
    let frames = with_futures(with_code(named(&stacks), &CODE), &futures());
    insta::assert_snapshot!(text(&dump, &frames, &Selection::default()), @r"
    gateway (pid 4711) was killed by SIGSEGV (null write at 0x0), in thread 4713, 2026-01-31T12:00:00Z on web-1
    1 task in 1 group; 4 threads

    1 task app::serve [waiting]
        app::serve  src/app.rs:12

    thread 4713 [killed by SIGSEGV]
        run         src/run.rs:7:9
        write_null  src/write_null.rs:7:9
        (the callers are cut off: their part of the stack could not be read)

    2 threads [block_on]
        main                                              src/main.rs:7:9
        tokio::runtime::park::CachedParkThread::block_on  src/tokio::runtime::park::CachedParkThread::block_on.rs:7:9
        park                                              src/park.rs:7:9
        in block_on: no stored waker shows where its future waits

    thread 4714
        no stack: it could not be read
    ");
}
