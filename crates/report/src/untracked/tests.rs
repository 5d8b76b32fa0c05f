#![allow(clippy::unwrap_used)]

mod core_file;

use std::cell::OnceCell;

use rtops_protocol::{
    End, FoundBy, Leaf, LeafEnd, NotAttached, Outside, Process, Reply, StackId, Stacks, Thread,
    ThreadCapture, TraceId, TraceOrder, Unresolved, Untracked, UntrackedLeaf, UntrackedState,
};

use super::*;
use crate::{
    census::{Census, Count, OfType},
    dump::{
        Dump, Failure,
        tests::{poll, receive, trace},
    },
    frames::{
        Frames,
        tests::{frames, inlined, with_futures, with_nameless_futures, with_starts},
    },
    group::{Grouping, Selection, TaskGroup, ageless, group_tasks},
    holders::Holders,
    leaks::{
        self, Evidence, Judge, Subject,
        sample::{Sample, Watch},
    },
    style::Style,
    task::TaskKey,
    text::stack::{self, View},
    threads::group_threads,
    waits::Waits,
};

const SERVE: u64 = 0x10;
const PUMP: u64 = 0x20;
const WORKER_POLL: u64 = 0x30;
const CLOSURE: u64 = 0x40;

/// What a task's stack has between its future and the executor.
const POLL: &str = "tokio::runtime::task::core::Core::poll core::panicking::try \
    tokio::runtime::task::harness::Harness::poll tokio::runtime::task::raw::poll";

fn futures() -> [(u64, &'static str); 4] {
    [
        (SERVE, "app::serve::{async_fn_env#0}"),
        (PUMP, "app::Pump<app::pump::{async_block_env#0}>"),
        (
            WORKER_POLL,
            "tokio::runtime::scheduler::multi_thread::worker::{impl#0}::launch::{closure_env#0}",
        ),
        (CLOSURE, "app::hash::{closure_env#0}"),
    ]
}

pub fn untracked(number: u64, poll: u64, stacks: &[u32]) -> Untracked {
    Untracked {
        number: Some(number),
        tokio: 0,
        cell: None,
        mark: None,
        poll,
        boxed_poll: None,
        state: UntrackedState::Idle,
        wakers: 1,
        has_join_handle: false,
        found_by: FoundBy::Steps,
        trace: None,
        polled: Vec::new(),
        leaves: stacks
            .iter()
            .map(|stack| Leaf {
                stack: StackId(*stack),
                end: LeafEnd::Complete,
            })
            .map(UntrackedLeaf::from)
            .collect(),
    }
}

fn unresolved(id: u64, poll: u64, why: Unresolved) -> Untracked {
    Untracked {
        found_by: FoundBy::Unresolved(why),
        ..untracked(id, poll, &[])
    }
}

/// The head of what was read of a process, whose agent was asked a millisecond later.
pub fn outside() -> Reply {
    Reply::Outside(Outside {
        pause_ns: 1_500_000,
        read_standing: None,
        has_tokio: true,
        threads_not_stopped: 0,
        agent_told_after_ns: Some(1_000_000),
    })
}

fn not_attached() -> Reply {
    Reply::NotAttached(NotAttached {
        why: "it would stand still for 80 ms, longer than --max-pause allows".to_owned(),
    })
}

fn process(tracked: u64, alive: u64) -> Reply {
    Reply::Process(Process {
        name: "gateway".to_owned(),
        tracked_on_tokio: Some(tracked),
        alive_on_tokio: Some(alive),
        tracking: None,
    })
}

fn dump_of(head: Vec<Reply>, stacks: &[&str], tasks: Vec<Untracked>) -> Dump {
    let stacks = stacks.iter().zip(1..);
    let stacks = stacks.map(|(names, number)| {
        let entries = names.split_whitespace().zip(0x1000_u64..);
        entries.map(|(_, address)| address + number).collect()
    });
    let mut replies = head;
    replies.extend([
        Reply::Stacks(Stacks(stacks.collect())),
        Reply::Untracked(tasks),
        Reply::End(End { gaps: Vec::new() }),
    ]);
    receive(replies).unwrap()
}

pub fn named(stacks: &[&str]) -> Frames {
    let stacks: Vec<String> = stacks
        .iter()
        .map(|names| names.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
    with_futures(frames(&stacks), &futures())
}

fn groups<'a>(dump: &'a Dump, frames: &Frames) -> Vec<TaskGroup<'a>> {
    group_tasks(dump, frames, &Selection::default(), Grouping::Equal)
}

pub fn text(dump: &Dump, frames: &Frames, selection: &Selection) -> String {
    let grouping = Grouping::Equal;
    let view = View {
        pid: 4711,
        name: "gateway",
        agent_version: Some("0.1.0"),
        dump,
        frames,
        holders: Holders::of(dump),
        waits: OnceCell::new(),
        grouping,
        limit: usize::MAX,
        tasks: Some(group_tasks(dump, frames, selection, grouping)),
        threads: Some(group_threads(dump, frames, selection, grouping)),
        ageless: ageless(dump, frames, selection),
        lacks: Vec::new(),
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
        recv   src/recv.rs:7:9
        serve  src/serve.rs:7:9

    2 tasks app::Pump<app::pump::{async block}> [waiting]
        (await not resolved: its poll waited for a lock that another thread held)

    1 task app::serve [waiting]
        (await not resolved: none of its own code ran)

    1 task app::Pump<app::pump::{async block}> [waiting]
        (await not resolved: no time was left; raise --timeout)

    1 task app::serve [never: no waker is registered, so nothing can wake it]
        recv   src/recv.rs:7:9
        serve  src/serve.rs:7:9

    1 task app::serve [woken or new, and about to be polled]

    1 task app::Pump<app::pump::{async block}> [running on thread 12]
        spin  src/spin.rs:7:9
        step  src/step.rs:7:9

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
            // The runtimes are of a tokio that does not count.
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
    // The heading says it already, and JSON has it as a gap.
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
    let groups = groups(&dump, &named(&["recv serve"]));
    assert_eq!((groups[0].times(), groups[0].ages()), (None, None));
}

#[test]
fn the_future_in_block_on_is_missed_unless_it_is_tracked() {
    let thread = Thread {
        tid: 7,
        name: Some("main".to_owned()),
        state: Some('S'),
        wchan: None,
        syscall: None,
        cpu_ticks: None,
        capture: ThreadCapture::Stack(Leaf {
            stack: StackId(0),
            end: LeafEnd::Complete,
        }),
    };
    let stacks = ["park tokio::runtime::park::CachedParkThread::block_on main"];
    let shows_note = |head: Vec<Reply>| {
        let mut replies = head;
        replies.extend([
            Reply::Stacks(Stacks(vec![vec![0x1000]])),
            Reply::Threads(vec![thread.clone()]),
            Reply::End(End { gaps: Vec::new() }),
        ]);
        let text = text(
            &receive(replies).unwrap(),
            &named(&stacks),
            &Selection::default(),
        );
        text.contains("the future in block_on is not a task")
    };
    assert!(shows_note(Vec::new()));
    let tracked = Reply::Tasks(vec![crate::dump::tests::task(1, 0, &[])]);
    assert!(!shows_note(vec![tracked]));
    // Memory has it.
    assert!(!shows_note(vec![outside()]));
}

#[test]
fn what_is_not_there_is_refused_and_equal_numbers_are_not() {
    let one = || Reply::Stacks(Stacks(vec![vec![1]]));
    let stepped = |number, trace| Untracked {
        trace: Some(TraceId(trace)),
        ..untracked(number, SERVE, &[])
    };
    for bad in [
        Reply::Untracked(vec![untracked(1, SERVE, &[1])]),
        Reply::Untracked(vec![stepped(1, 1)]),
    ] {
        let failure = receive(vec![one(), trace(1), bad]);
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }
    // The memory of a process may have a cell twice, when it is torn down.
    let twice = vec![
        untracked(1, SERVE, &[0]),
        stepped(1, 0),
        stepped(u64::MAX, 0),
    ];
    let dump = receive(vec![one(), trace(1), Reply::Untracked(twice)]).unwrap();
    let keys = dump.tasks.iter().map(|task| task.key);
    assert_eq!(keys.collect::<Vec<_>>(), [0, 1, 2].map(TaskKey::Untracked));
}

#[test]
fn tasks_polled_by_one_function_are_told_apart_by_what_their_polls_show() {
    let code = [
        (1, "app::serve::{async_fn#0}:10"),
        (2, "app::serve::{async_fn#0}:12"),
        (3, "app::serve::{async_fn#0}:13"),
    ];
    let frames = with_futures(crate::frames::tests::traced(&code), &futures());
    let stepped = |number, trace| Untracked {
        trace: Some(TraceId(trace)),
        ..untracked(number, SERVE, &[])
    };
    let traces = [2, 2, 3].map(trace);
    let tasks = vec![
        stepped(1, 0),
        stepped(2, 1),
        stepped(3, 2),
        Untracked {
            trace: None,
            ..stepped(4, 0)
        },
        unresolved(5, SERVE, Unresolved::Locked),
    ];
    let mut head = vec![outside()];
    head.extend(traces);
    let dump = dump_of(head, &[], tasks);
    let groups = groups(&dump, &frames);
    let groups = groups.iter().map(|group| {
        let reason = group.look.unresolved.map(|reason| reason.short);
        (
            group.tasks.len(),
            group.chains.len(),
            group.is_stepped,
            reason,
        )
    });
    assert_eq!(
        groups.collect::<Vec<_>>(),
        [
            (2, 1, true, None),
            (1, 1, true, None),
            (1, 0, false, Some("ran none of its own code")),
            (1, 0, false, Some("locked"))
        ]
    );
}

#[test]
fn of_nested_polls_the_one_counts_that_begins_where_the_tasks_does() {
    let nested = format!("spin {POLL} tokio::task::local::LocalSet::tick outer {POLL} run");
    let frames = named(&[&nested]);
    let links = frames.stack(StackId(0)).to_vec();
    let leaf = |end| Leaf {
        stack: StackId(0),
        end,
    };
    let whole = leaf(LeafEnd::Complete);
    assert_eq!(own_part(&frames, whole, SERVE), Own::Several);
    let starts = [(links[3].address, SERVE), (links[9].address, PUMP)];
    let frames = with_starts(named(&[&nested]), &starts);
    assert_eq!(own_part(&frames, whole, SERVE), Own::Innermost(1));
    assert_eq!(own_part(&frames, whole, PUMP), Own::Innermost(7));
    let one = named(&[&format!("spin {POLL} run")]);
    assert_eq!(own_part(&one, whole, SERVE), Own::Innermost(1));
    // Link-time optimization inlines the future, and what it calls, in the function that polls it.
    let one = inlined(one, 5);
    let one = with_starts(one, &[(links[0].address, SERVE)]);
    assert_eq!(own_part(&one, whole, SERVE), Own::Innermost(1));
    // Another poll may be where the stack is cut off.
    let one = named(&[&format!("spin {POLL} run")]);
    let cut = leaf(LeafEnd::Truncated);
    assert_eq!(own_part(&one, cut, SERVE), Own::Several);
    let none = named(&["spin run"]);
    assert_eq!(own_part(&none, whole, SERVE), Own::NoPoll);
}

#[test]
fn the_function_that_is_polled_stands_for_a_type_that_is_not_known() {
    let stacks = [format!(
        "recv app::serve::{{{{closure}}}} core::pin::Pin::poll {POLL}"
    )];
    let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
    let tasks = vec![
        untracked(1, SERVE, &[]),
        untracked(2, SERVE, &[0]),
        untracked(3, CLOSURE, &[]),
    ];
    let dump = dump_of(Vec::new(), &stacks, tasks);
    let frames = with_nameless_futures(named(&stacks), &dump, &[SERVE, CLOSURE]);
    let mut names: Vec<_> = groups(&dump, &frames)
        .iter()
        .map(|group| group.look.future_type.clone().unwrap().into_owned())
        .collect();
    names.sort_unstable();
    let serve = "app::serve::{{closure}}";
    assert_eq!(names, ["app+0x10", serve, serve]);
}

#[test]
fn all_that_is_shown_is_counted_and_nothing_else() {
    let blocking = |poll, tid| Untracked {
        state: UntrackedState::Blocking { tid },
        ..untracked(9, poll, &[])
    };
    let block_on = Untracked {
        state: UntrackedState::BlockOn { tid: 7 },
        ..untracked(8, PUMP, &[])
    };
    let tasks = vec![
        untracked(1, SERVE, &[]),
        untracked(2, SERVE, &[]),
        blocking(CLOSURE, None),
        // tokio's own.
        blocking(WORKER_POLL, None),
        block_on,
    ];
    let dump = dump_of(Vec::new(), &[], tasks);
    let frames = named(&[]);
    let all = Count::of(&dump, &frames);
    assert_eq!(
        all.words("task"),
        "2 tasks, 1 blocking task and 1 block_on future"
    );
    let groups = groups(&dump, &frames);
    let shown = groups.iter().flat_map(|group| &group.tasks);
    assert_eq!(Count::of_tasks(shown.copied()), all);
    assert_eq!(all.total(), 4);
    let one = Count::of_tasks(dump.tasks.iter().take(1));
    assert_eq!(one.of_all(all, "task"), "1 of 2 tasks");
    assert_eq!(
        Count::default().of_all(all, "task"),
        "0 of 2 tasks, 1 blocking task and 1 block_on future"
    );
    assert_eq!(Count::default().words("task"), "0 tasks");
}

#[test]
fn a_census_counts_the_tasks_of_each_type() {
    let tasks = vec![
        untracked(1, SERVE, &[]),
        untracked(2, PUMP, &[]),
        Untracked {
            state: UntrackedState::Running { tid: Some(1) },
            ..untracked(3, PUMP, &[])
        },
        Untracked {
            state: UntrackedState::Woken,
            ..untracked(4, PUMP, &[])
        },
        Untracked {
            state: UntrackedState::Blocking { tid: Some(1) },
            ..untracked(5, CLOSURE, &[])
        },
    ];
    let census = Census::of(&dump_of(Vec::new(), &[], tasks), &named(&[]));
    let of_type = |name: &str, count, running, idle| OfType {
        future_type: name.to_owned(),
        count,
        running,
        idle,
    };
    assert_eq!(census.tasks, 4);
    assert_eq!(
        census.by_type,
        [
            of_type(futures()[1].1, 3, 1, 1),
            of_type(futures()[0].1, 1, 0, 1)
        ]
    );
}

#[test]
fn idle_ones_without_a_waker_are_proven_leaks_and_growth_needs_no_site() {
    let stacks = ["recv serve", "recv pump"];
    let dump = |pumps: u64| {
        let lost = |id, has_join_handle| Untracked {
            wakers: 0,
            has_join_handle,
            ..untracked(id, SERVE, &[0])
        };
        let mut tasks = vec![lost(1, false), lost(2, true)];
        tasks.extend((10..10 + pumps).map(|id| untracked(id, PUMP, &[1])));
        dump_of(vec![outside()], &stacks, tasks)
    };
    let judged = |earlier: Vec<Dump>, last: &Dump| {
        let frames = named(&stacks);
        let holders = Holders::of(last);
        let watch = Watch {
            earlier: earlier.iter().map(Sample::of).collect(),
            ..Watch::default()
        };
        let judge = Judge {
            min_age: std::time::Duration::ZERO,
            ignore: Vec::new(),
        };
        let waits = Waits::of(last, &frames, &holders);
        let found = leaks::find(last, &frames, &waits, &watch, &judge);
        let findings = found.findings.into_iter().map(|finding| {
            let Subject::Tasks(group) = &finding.subject else {
                panic!("{finding:?}");
            };
            (finding.evidence, group.tasks.len(), finding.why)
        });
        findings.collect::<Vec<_>>()
    };
    let last = dump(9);
    let found = judged(vec![dump(2), dump(5)], &last);
    let [proven, growing] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((proven.0, proven.1), (Evidence::Proven, 2));
    assert!(proven.2.contains("no waker of it exists"));
    assert!(proven.2.ends_with("(a handle can still abort 1 of them)"));
    assert_eq!((growing.0, growing.1), (Evidence::Growing, 9));
    // A dump without them says nothing of how many there were.
    let refused = dump_of(vec![not_attached()], &[], Vec::new());
    let found = judged(vec![refused, dump(5)], &last);
    assert_eq!(found.len(), 1, "{found:?}");
}
