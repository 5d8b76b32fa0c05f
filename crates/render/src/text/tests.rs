//! What is shown of tasks that were read from memory.
#![allow(clippy::unwrap_used)]

mod core_file;
mod joined;

use rtops_protocol::{
    FoundBy, Leaf, LeafEnd, Process, Reply, Stacks, Thread, ThreadCapture, Unresolved, Untracked,
    UntrackedState,
};
use rtops_report::{
    dump::{
        Dump,
        fixtures::{end, on, receive, task, thread},
    },
    frames::Frames,
    group::{ageless, group_tasks},
    selection::{Grouping, Selection},
    threads::group_threads,
    untracked::fixtures::{
        CLOSURE, POLL, PUMP, SERVE, WORKER_POLL, dump_of, named, not_attached, outside, process,
        unresolved, untracked,
    },
    view::View,
};
use rtops_types::Pid;

use super::stack;
use crate::style::Style;

pub fn text(dump: &Dump, frames: &Frames, selection: &Selection) -> String {
    let grouping = Grouping::Equal;
    let view = View {
        pid: Pid::new(4711),
        name: "gateway",
        agent_version: Some("0.1.0"),
        tasks: Some(group_tasks(dump, frames, selection, grouping)),
        threads: Some(group_threads(dump, frames, selection, grouping)),
        ageless: ageless(dump, frames, selection),
        ..View::of(dump, frames)
    };
    let mut written = Vec::new();
    stack::text(&mut written, Style::PLAIN, &view).unwrap();
    String::from_utf8(written).unwrap()
}

#[test]
fn each_kind_of_task_says_what_is_known_of_it() {
    let running = format!("spin step {POLL} run start_thread");
    let closure = format!(
        "hash tokio::runtime::blocking::task::BlockingTask::poll {POLL} \
         tokio::runtime::blocking::pool::Inner::run"
    );
    let stacks = ["recv serve", &running, &closure, "park block_on main"];
    let tasks = vec![
        untracked(1, SERVE, &[0]),
        untracked(2, SERVE, &[0]),
        untracked(3, SERVE, &[]),
        unresolved(4, PUMP, Unresolved::Locked),
        unresolved(5, PUMP, Unresolved::Locked),
        unresolved(6, PUMP, Unresolved::NoTime),
        Untracked {
            wakers: 0,
            ..untracked(7, SERVE, &[0])
        },
        Untracked {
            state: UntrackedState::Woken,
            ..unresolved(8, SERVE, Unresolved::NotAsked)
        },
        Untracked {
            state: UntrackedState::Running { tid: Some(12) },
            found_by: FoundBy::Thread,
            ..untracked(9, PUMP, &[1])
        },
        Untracked {
            state: UntrackedState::Blocking { tid: Some(13) },
            found_by: FoundBy::Thread,
            ..untracked(10, CLOSURE, &[2])
        },
        Untracked {
            state: UntrackedState::Blocking { tid: None },
            ..unresolved(11, CLOSURE, Unresolved::NoThread)
        },
        Untracked {
            state: UntrackedState::Blocking { tid: Some(14) },
            ..unresolved(12, WORKER_POLL, Unresolved::NoThread)
        },
    ];
    let dump = dump_of(vec![process(0, 9), outside()], &stacks, tasks);
    insta::assert_snapshot!(text(&dump, &named(&stacks), &Selection::default()), @r"
    gateway (pid 4711): 9 tasks and 2 blocking tasks in 9 groups, 9 of 9 alive; 4 only by type: 2 locked, 1 ran none of its own code, 1 ran out of time; 0 threads
    looked at from outside; it stood still for 1.5 ms

    2 tasks app::serve [waiting]
        serve  src/serve.rs:7:9
        recv   src/recv.rs:7:9

    2 tasks app::Pump<app::pump::{async block}> [waiting]
        (await not resolved: its poll waited for a lock that another thread held)

    1 task app::serve [waiting]
        (await not resolved: none of its own code ran)

    1 task app::Pump<app::pump::{async block}> [waiting]
        (await not resolved: no time was left; raise --timeout)

    1 task app::serve [never: no waker is registered, so nothing can wake it]
        serve  src/serve.rs:7:9
        recv   src/recv.rs:7:9

    1 task app::serve [woken or new, and about to be polled]

    1 task app::Pump<app::pump::{async block}> [running on thread 12]
        step  src/step.rs:7:9
        spin  src/spin.rs:7:9

    1 blocking task app::hash::{closure} [running on thread 13]
        hash  src/hash.rs:7:9

    1 blocking task app::hash::{closure} [submitted: running, or waiting for a thread]
    ");
}

#[test]
fn what_is_missing_is_told_where_the_tasks_would_stand() {
    let heading = |tracked, alive, told: Reply| {
        let head = match alive {
            Some(alive) => process(tracked, alive),
            // The runtimes belong to a tokio that does not count tasks.
            None => Reply::Process(Process {
                name: "gateway".to_owned(),
                tracked_on_tokio: Some(tracked),
                alive_on_tokio: None,
                tracking: None,
            }),
        };
        let dump = dump_of(vec![told, head], &[], Vec::new());
        let text = text(&dump, &named(&[]), &Selection::default());
        (text, dump.gaps)
    };
    let (text, gaps) = heading(15, Some(1219), not_attached());
    insta::assert_snapshot!(text, @r"
    gateway (pid 4711): 0 tasks in 0 groups, tracked 15 of 1219 alive; 0 threads
    1204 untracked tasks are not shown: it would stand still for 80 ms, longer than --max-pause allows
    ");
    // The heading already says it, and JSON has it as a gap.
    assert_eq!(gaps.len(), 1);
    let (text, _) = heading(15, Some(16), not_attached());
    assert!(text.contains("\n1 untracked task is not shown: "), "{text}");
    let (text, gaps) = heading(15, None, not_attached());
    insta::assert_snapshot!(text, @r"
    gateway (pid 4711): 0 tracked tasks in 0 groups; 0 threads
    untracked tasks are not shown: it would stand still for 80 ms, longer than --max-pause allows
    ");
    assert_eq!(gaps.len(), 1);
    // Nothing is known to be missing.
    let (text, gaps) = heading(15, Some(15), not_attached());
    assert!(
        text.contains("\nnot looked at from outside: it would stand still"),
        "{text}"
    );
    assert_eq!((text.lines().count(), gaps.len()), (2, 0));
    let (text, gaps) = heading(0, Some(9), outside());
    insta::assert_snapshot!(text, @r"
    gateway (pid 4711): 0 tasks in 0 groups, 0 of 9 alive; 0 threads
    looked at from outside; it stood still for 1.5 ms
    ");
    assert!(gaps.is_empty());
}

#[test]
fn an_unknown_age_is_never_taken_for_a_short_one() {
    let dump = dump_of(
        vec![outside()],
        &["recv serve"],
        vec![untracked(1, SERVE, &[0]), untracked(2, SERVE, &[0])],
    );
    let selection = Selection {
        min_age: Some(std::time::Duration::from_secs(1)),
        ..Selection::default()
    };
    insta::assert_snapshot!(text(&dump, &named(&["recv serve"]), &selection), @r"
    gateway (pid 4711): 0 of 2 tasks in 0 groups; 0 threads
    looked at from outside; it stood still for 1.5 ms

    2 untracked tasks left out: how long they have waited is not known
    ");
}

#[test]
fn the_future_in_block_on_is_missed_unless_it_is_tracked() {
    let thread = thread(7, Some("main"), on(0));
    let stacks = ["park tokio::runtime::park::CachedParkThread::block_on main"];
    let shows_note = |head: Vec<Reply>| {
        let mut replies = head;
        replies.extend([
            Reply::Stacks(Stacks(vec![vec![0x1000]])),
            Reply::Threads(vec![thread.clone()]),
            end(),
        ]);
        let text = text(
            &receive(replies).unwrap(),
            &named(&stacks),
            &Selection::default(),
        );
        text.contains("the future in block_on is not a task")
    };
    assert!(shows_note(Vec::new()));
    let tracked = Reply::Tasks(vec![task(1, 0, &[])]);
    assert!(!shows_note(vec![tracked]));
    // Memory has the future.
    assert!(!shows_note(vec![outside()]));
}
