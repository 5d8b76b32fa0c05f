#![allow(clippy::unwrap_used)]

mod core_file;

use rtops_protocol::{
    FoundBy, Leaf, LeafEnd, Reply, StackId, Stacks, TraceId, TraceOrder, Unresolved, Untracked,
    UntrackedState,
};

use super::{fixtures::*, *};
use crate::{
    census::{Census, Count},
    dump::{
        Dump, Failure,
        fixtures::{end, poll, receive, trace},
    },
    frames::{
        Frames,
        fixtures::{inlined, with_futures, with_nameless_futures, with_starts},
    },
    group::{TaskGroup, group_tasks},
    holders::Holders,
    leaks::{
        self, Evidence, Judge, Subject,
        sample::{Sample, Watch},
    },
    selection::{Grouping, Selection},
    task::TaskKey,
    waits::Waits,
};

fn groups<'a>(dump: &'a Dump, frames: &Frames) -> Vec<TaskGroup<'a>> {
    group_tasks(dump, frames, &Selection::default(), Grouping::Equal)
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
    // A cell may occur twice in memory while the process tears it down.
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
    let frames = with_futures(crate::frames::fixtures::traced(&code), &futures());
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
    // Link-time optimization inlines the future and its callees in the function that polls it.
    let one = inlined(one, 5);
    let one = with_starts(one, &[(links[0].address, SERVE)]);
    assert_eq!(own_part(&one, whole, SERVE), Own::Innermost(1));
    // The part that is cut off may contain another poll.
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
        // tokio's own thread.
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
    let (earlier, frames) = (dump_of(Vec::new(), &[], tasks), named(&[]));
    let census = |dump: &Dump| {
        let groups = group_tasks(dump, &frames, &Selection::default(), Grouping::Equal);
        Census::of(&groups)
    };
    let before = census(&earlier);
    assert_eq!((before.count.tasks, before.count.blocking), (4, 1));
    assert_eq!(before.untracked, 4);
    let types = before.by_type.iter();
    let types: Vec<_> = types
        .map(|it| (&*it.title, it.count, it.running, it.idle))
        .collect();
    assert_eq!(
        types,
        [
            ("app::Pump<app::pump::{async block}>", 3, 1, 1),
            ("app::hash::{closure}", 1, 1, 0),
            ("app::serve", 1, 0, 1),
        ]
    );

    // One pump has ended and two are new; a closure can't be told from others.
    let closure = Untracked {
        number: None,
        state: UntrackedState::Blocking { tid: Some(1) },
        ..untracked(5, CLOSURE, &[])
    };
    let tasks = [2, 3, 6, 7].map(|number| untracked(number, PUMP, &[]));
    let later = dump_of(
        Vec::new(),
        &[],
        tasks.into_iter().chain([closure]).collect(),
    );
    let moved = census(&later).since(&before);
    let moved: Vec<_> = moved
        .iter()
        .map(|it| (&*it.title, it.count, it.came, it.went))
        .collect();
    assert_eq!(
        moved,
        [
            ("app::Pump<app::pump::{async block}>", 4, Some(2), Some(1)),
            ("app::hash::{closure}", 1, None, None),
            ("app::serve", 0, Some(0), Some(1)),
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
    // A dump without untracked tasks does not show how many there were.
    let refused = dump_of(vec![not_attached()], &[], Vec::new());
    let found = judged(vec![refused, dump(5)], &last);
    assert_eq!(found.len(), 1, "{found:?}");
}
