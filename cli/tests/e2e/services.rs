//! Requests in flight in services on well-known libraries, which are untracked.

use std::{sync::Arc, thread, time::Instant};

use tempfile::tempdir;

use crate::{
    source::Marks,
    support::{Build, DEADLINE, Target, eventually},
    verdict::Expected,
    web,
};

/// Each service, and how many tasks wait in each way.
const SERVICES: &[(&str, &[(&str, usize)])] = &[
    ("http", &[("http-serve", 1), ("http-slow", 3)]),
    (
        "http2",
        &[
            ("http2-connection", 1),
            ("http2-request", 3),
            ("http2-serve", 1),
            ("http2-slow", 3),
        ],
    ),
    (
        "pool",
        &[("pool-request", 3), ("pool-serve", 1), ("pool-slow", 3)],
    ),
    ("redis", &[("redis-command", 3), ("redis-server", 1)]),
];

#[test]
fn each_marked_await_is_looked_at() {
    let marks = Marks::read();
    let ways = SERVICES.iter().flat_map(|(_, ways)| *ways);
    let mut names: Vec<&str> = ways.map(|(name, _)| *name).chain(web::marks()).collect();
    names.sort_unstable();
    assert_eq!(marks.names_in("testbed/src/services/"), names);
}

#[test]
fn each_request_is_at_its_line() {
    let marks = Marks::read();
    for (service, ways) in SERVICES {
        let directory = Arc::new(tempdir().unwrap());
        let target = Target::start_in(directory, Build::services(), &[service]);
        let expected = Expected {
            marks: &marks,
            folders: &["testbed/src/services/"],
            around: "testbed/src/services/main.rs",
            names: ways.iter().copied().collect(),
            may_be_unresolved: &[],
            has_libraries: true,
        };
        let compared = || expected.compare(&target.stack(&["--tasks"]));
        // When the server has the request, the client may not have reached its await yet.
        let end = Instant::now() + DEADLINE;
        while !compared().is_right() && Instant::now() < end {
            thread::yield_now();
        }
        compared().expect_right();
    }
}

#[test]
fn clients_wait_for_responses_and_servers_for_requests() {
    let marks = Marks::read();
    for (service, mark, wait) in [
        ("http2", "http2-request", "HTTP response"),
        ("http2", "http2-serve", "next request"),
        ("pool", "pool-request", "HTTP response"),
    ] {
        let directory = Arc::new(tempdir().unwrap());
        let target = Target::start_in(directory, Build::services(), &[service]);
        let at = &marks.of(mark)[0];
        eventually(&format!("{mark} waits for {wait}"), || {
            let stack = target.stack(&["--tasks"]);
            let mut groups = stack.task_groups().iter();
            groups.any(|group| group.has_line(at) && group.waits == [wait])
        });
    }
}
