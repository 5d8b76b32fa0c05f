//! What is shown of polls that ran these lines one after the other.
#![allow(clippy::unwrap_used)]

use rtops_protocol::{Call, TraceEnd, Visit};

use super::*;
use crate::frames::fixtures::traced;

/// Returns each chain as `function:line` per frame, innermost first, and whether it lacks anything.
fn shown(trace: &Trace, frames: &Frames) -> Vec<(String, bool)> {
    shown_of(trace, frames, Whose::Tokios)
}

/// Returns the same for the part that belongs to a task.
fn shown_of(trace: &Trace, frames: &Frames, whose: Whose) -> Vec<(String, bool)> {
    let chains = chains(trace, frames, whose);
    let text = chains.iter().map(|chain| {
        let frames = chain.links.iter().filter_map(|link| frames.get(link.frame));
        let frames = frames.map(|frame| match &frame.place {
            Some(place) => format!("{}:{}", frame.name, place.line),
            None => frame.name.clone(),
        });
        let text: Vec<String> = frames.collect();
        (text.join(" "), chain.incomplete.is_some())
    });
    text.collect()
}

/// Makes a trace of one call with these visits; `calls` adds more calls as `(caller, site)`.
fn trace(visits: &[(u32, u64)], calls: &[(u32, u64)]) -> Trace {
    let calls = [(0, 0)].iter().chain(calls);
    Trace {
        end: TraceEnd::Whole,
        order: TraceOrder::LastRun,
        calls: calls
            .map(|(caller, site)| Call {
                caller: *caller,
                site: *site,
            })
            .collect(),
        visits: visits
            .iter()
            .map(|(call, ip)| Visit {
                call: *call,
                ip: *ip,
            })
            .collect(),
    }
}

fn in_one_call(code: &[(u64, &str)]) -> Vec<(String, bool)> {
    let visits: Vec<(u32, u64)> = code.iter().map(|(ip, _)| (0, *ip)).collect();
    shown(&trace(&visits, &[]), &traced(code))
}

fn whole(chain: &str) -> (String, bool) {
    (chain.to_owned(), false)
}

#[test]
fn inlined_async_fns_show_the_line_of_each_await() {
    let chains = in_one_call(&[
        (1, "rtops_tasks::poll:1"),
        (2, "app::outer::{async_fn#0}:10 rtops_tasks::poll:2"),
        (
            3,
            "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12 rtops_tasks::poll:2",
        ),
        (
            4,
            "app::inner::{async_fn#0}:23 app::outer::{async_fn#0}:12 rtops_tasks::poll:2",
        ),
        (5, "rtops_tasks::poll:3"),
    ]);
    assert_eq!(chains, [whole("app::inner:23 app::outer:12")]);
}

#[test]
fn the_first_line_of_an_async_fn_is_never_shown_as_its_await() {
    let chains = in_one_call(&[
        (1, "app::outer::{async_fn#0}:10"),
        (2, "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12"),
        (3, "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12"),
    ]);
    assert_eq!(chains, [("app::inner app::outer:12".to_owned(), true)]);
}

#[test]
fn an_async_fn_waits_at_the_last_await_that_it_came_to() {
    let chains = in_one_call(&[
        (1, "app::outer::{async_fn#0}:10"),
        (2, "app::Ready::poll:30 app::outer::{async_fn#0}:12"),
        (3, "app::Lost::poll:40 app::outer::{async_fn#0}:13"),
    ]);
    assert_eq!(chains, [whole("app::Lost::poll:40 app::outer:13")]);
}

#[test]
fn what_is_written_by_hand_waits_for_all_that_it_polls() {
    let chains = in_one_call(&[
        (1, "app::outer::{async_fn#0}:10"),
        (
            2,
            "tokio::task::coop::poll_proceed:5 app::Both::poll:50 app::outer::{async_fn#0}:12",
        ),
        (
            3,
            "app::left::{async_fn#0}:60 app::Both::poll:51 app::outer::{async_fn#0}:12",
        ),
        (
            4,
            "app::left::{async_fn#0}:61 app::Both::poll:51 app::outer::{async_fn#0}:12",
        ),
        (
            5,
            "app::Lost::poll:40 app::Both::poll:52 app::outer::{async_fn#0}:12",
        ),
    ]);
    let mut chains: Vec<_> = chains.into_iter().collect();
    chains.sort();
    let both = [
        whole("app::Lost::poll:40 app::Both::poll:52 app::outer:12"),
        whole("app::left:61 app::Both::poll:51 app::outer:12"),
    ];
    assert_eq!(chains, both);
}

#[test]
fn a_library_is_one_wait_unless_it_polls_the_users() {
    let chains = in_one_call(&[
        (1, "app::outer::{async_fn#0}:10"),
        (2, "tokio::time::Sleep::poll:5 app::outer::{async_fn#0}:12"),
        (
            3,
            "tokio::time::Entry::poll_a:6 tokio::time::Sleep::poll:7 app::outer::{async_fn#0}:12",
        ),
        (
            4,
            "tokio::time::Entry::poll_b:6 tokio::time::Sleep::poll:8 app::outer::{async_fn#0}:12",
        ),
    ]);
    assert_eq!(chains, [whole("tokio::time::Sleep::poll:8 app::outer:12")]);
}

#[test]
fn a_future_of_a_closure_waits_in_the_closure() {
    let chains = in_one_call(&[
        (1, "app::outer::{async_fn#0}:10"),
        (
            2,
            "core::future::poll_fn::PollFn::poll:5 app::outer::{async_fn#0}:12",
        ),
        (
            3,
            "app::outer::{async_fn#0}::{closure#0}:14 core::future::poll_fn::PollFn::poll:6 app::outer::{async_fn#0}:12",
        ),
    ]);
    assert_eq!(chains, [whole("app::outer::{closure}:14 app::outer:12")]);
}

#[test]
fn calls_and_tail_calls_are_followed() {
    let code = [
        (1, "rtops_tasks::poll:1"),
        (10, "app::outer::{async_fn#0}:10"),
        (11, "app::outer::{async_fn#0}:12"),
        (20, "app::Wrapper::poll:20"),
        (30, "app::inner::{async_fn#0}:30"),
        (31, "app::inner::{async_fn#0}:31"),
    ];
    // The wrapper makes a tail call to what it wraps.
    let visits = [(0, 1), (1, 10), (1, 11), (2, 20), (2, 30), (2, 31)];
    let trace = trace(&visits, &[(0, 1), (1, 11)]);
    let chains = shown(&trace, &traced(&code));
    assert_eq!(
        chains,
        [whole("app::inner:31 app::Wrapper::poll:20 app::outer:12")]
    );
}

#[test]
fn of_a_tracked_task_only_what_is_inside_the_outermost_tracked_future_is_shown() {
    let code = [
        (1, "app::around::{async_fn#0}:10"),
        (2, "app::around::{async_fn#0}:12"),
        (3, "rtops_tasks::Tracked::poll:1"),
        (4, "app::outer::{async_fn#0}:20"),
        (5, "app::outer::{async_fn#0}:22"),
        (6, "rtops_tasks::Tracked::poll:1"),
        (7, "app::inner::{async_fn#0}:30"),
        (8, "app::inner::{async_fn#0}:31"),
    ];
    let visits = [
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (2, 5),
        (3, 6),
        (4, 7),
        (4, 8),
    ];
    let tracked = trace(&visits, &[(0, 2), (1, 3), (2, 5), (3, 6)]);
    let frames = traced(&code);
    let outer = "app::inner:31 app::outer:22";
    assert_eq!(shown_of(&tracked, &frames, Whose::Tracked), [whole(outer)]);
    let around = format!("{outer} app::around:12");
    assert_eq!(shown(&tracked, &frames), [whole(&around)]);
    // Nothing is shown if no tracked future is seen to be polled.
    let other = trace(&[(0, 1), (0, 2)], &[]);
    assert!(shown_of(&other, &frames, Whose::Tracked).is_empty());
}

#[test]
fn where_a_task_resumes_is_the_first_await_that_it_came_to() {
    let code = [
        (1, "app::outer::{async_fn#0}:10"),
        (2, "app::Ready::poll:30 app::outer::{async_fn#0}:12"),
        (3, "app::Ready::poll:31 app::outer::{async_fn#0}:12"),
        (
            4,
            "app::left::{async_fn#0}:60 app::Both::poll:51 app::outer::{async_fn#0}:13",
        ),
        (
            5,
            "app::Lost::poll:40 app::Both::poll:52 app::outer::{async_fn#0}:13",
        ),
    ];
    let shown_first = |ips: &[u64]| {
        let visits: Vec<(u32, u64)> = ips.iter().map(|ip| (0, *ip)).collect();
        let trace = Trace {
            order: TraceOrder::FirstRun,
            ..trace(&visits, &[])
        };
        let mut chains = shown(&trace, &traced(&code));
        chains.sort();
        chains
    };
    let resumed = [whole("app::Ready::poll:30 app::outer:12")];
    assert_eq!(shown_first(&[1, 2, 3, 4, 5]), resumed);
    // In a loop, the first await in the source may be polled last.
    let both = [
        whole("app::Lost::poll:40 app::Both::poll:52 app::outer:13"),
        (
            "app::left app::Both::poll:51 app::outer:13".to_owned(),
            true,
        ),
    ];
    assert_eq!(shown_first(&[1, 4, 5, 2, 3]), both);
}

#[test]
fn a_trace_out_of_nowhere_shows_nothing_or_ends() {
    let code = [
        (1, "app::outer::{async_fn#0}:10"),
        (2, "app::outer::{async_fn#0}:12"),
    ];
    let frames = traced(&code);
    assert_eq!(shown(&trace(&[], &[]), &frames), []);
    assert_eq!(shown(&trace(&[(0, 99), (1, 1)], &[(0, 98)]), &frames), []);
    // Each call is made by the previous one.
    let calls: Vec<(u32, u64)> = (0..60_000).map(|caller| (caller, 1)).collect();
    let visits: Vec<(u32, u64)> = (0..=60_000).map(|call| (call, 1)).collect();
    let chains = shown(&trace(&visits, &calls), &frames);
    assert_eq!(chains.len(), 1);
    assert!(chains.iter().all(|(_, incomplete)| *incomplete));
}

#[test]
fn the_outermost_poll_is_the_root_before_that_of_an_executor() {
    const OUTER: &str = "tokio::task::local::LocalSet::poll:3 core::pin::Pin::poll:2 \
        tokio::runtime::park::block_on:1";
    let trace = trace(&[(0, 1)], &[]);
    let root_of = |inner: &str| {
        let frames = traced(&[(1, inner)]);
        root(&trace, &frames, FrameClass::Executor).map(str::to_owned)
    };
    let both = format!("app::inner::{{async_fn#0}}:5 app::outer::{{async_fn#0}}:4 {OUTER}");
    assert_eq!(root_of(&both).as_deref(), Some("app::outer::{async_fn#0}"));
    let alone = format!("tokio::task::local::LocalSet::tick:4 {OUTER}");
    assert_eq!(
        root_of(&alone).as_deref(),
        Some("tokio::task::local::LocalSet::poll")
    );
    assert_eq!(root_of("tokio::runtime::park::block_on:1"), None);
}

#[test]
fn what_has_no_name_is_no_part_of_a_tree() {
    let code = [
        (1, "app::client::{async_fn#0}:15"),
        (2, "app::Get::poll:8 app::client::{async_fn#0}:16"),
        (
            3,
            "tokio::sync::mutex::Mutex::lock::{async_fn#0}:455 app::Get::poll:9 \
             app::client::{async_fn#0}:16",
        ),
        (
            4,
            "<core::future::poll_fn::PollFn<F> as core::future::future::Future>::poll:1 \
             tokio::sync::mutex::Mutex::lock::{async_fn#0}:456 app::Get::poll:9 \
             app::client::{async_fn#0}:16",
        ),
        (5, "app+0x398180"),
        (6, "memcpy"),
        (7, "app::callback:30"),
        (8, "app::Lost::poll:40"),
    ];
    // A PLT stub jumps to the C library.
    let visits = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6)];
    let trace_of = |more: &[(u32, u64)], calls: &[(u32, u64)]| {
        let visits = [&visits, more].concat();
        shown(&trace(&visits, calls), &traced(&code))
    };
    let poll = "tokio::sync::mutex::Mutex::lock:456 app::Get::poll:9 app::client:16";
    assert_eq!(trace_of(&[], &[(0, 4)]), [whole(poll)]);
    // A callback counts as called from where the C function was called.
    let lost = format!("app::Lost::poll:40 app::callback:30 {poll}");
    let chains = trace_of(&[(2, 7), (3, 8)], &[(0, 4), (1, 5), (2, 7)]);
    assert_eq!(chains, [whole(&lost)]);
}

#[test]
fn the_body_of_a_future_begins_at_its_first_line() {
    let code = [
        (1, "app::main::{async_block#0}:10"),
        (
            2,
            "app::Conn::serve::{async_fn#0}:20 app::main::{async_block#0}:12",
        ),
        (3, "app::main::{{closure}}::{async_block#1}:14"),
    ];
    let (trace, frames) = (trace(&[(0, 1), (0, 2), (0, 3)], &[]), traced(&code));
    for (future, found) in [
        (
            "app::main::{async_block_env#0}",
            Some(("app::main::{async_block#0}", 10)),
        ),
        (
            "app::{impl#4}::serve::{async_fn_env#0}<u8>",
            Some(("app::Conn::serve::{async_fn#0}", 20)),
        ),
        ("app::main::{async_block_env#2}", None),
    ] {
        let body = body(&trace, &frames, future);
        let body = body.and_then(|(function, place)| Some((function, place?.line)));
        assert_eq!(body, found, "{future}");
    }
}
