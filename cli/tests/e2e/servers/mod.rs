//! Servers on well-known libraries, without an agent: what each connection
//! is about, and what an operator sees.

mod client;
mod screens;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use self::client::{Visit, visit};
use crate::{core::packages, look, reply::Stack, support::DEADLINE, victim::Victim};

/// How many tasks wait for something, by what they wait for and what part of a request they serve.
type Ways = BTreeMap<(String, Option<String>), usize>;

/// What HTTP/1 servers wait for: in a handler, while they send its response, or without a request.
const SERVED: &[(&str, Option<&str>, usize)] = &[
    ("HTTP body", Some("handler"), 1),
    ("I/O write", Some("response"), 1),
    ("next request", None, 4),
    ("response body", Some("response"), 1),
    ("sleep", Some("handler"), 3),
];

fn ways(expected: &[(&str, Option<&str>, usize)]) -> Ways {
    let ways = expected.iter().map(|(wait, serving, count)| {
        let serving = serving.map(str::to_owned);
        (((*wait).to_owned(), serving), *count)
    });
    ways.collect()
}

/// Returns how all tasks wait.
fn found(stack: &Stack) -> Ways {
    let mut ways = Ways::new();
    let groups = stack.task_groups().iter();
    for group in groups.filter(|group| group.kind == "task") {
        let way = (group.waits.join(" + "), group.serving.clone());
        *ways.entry(way).or_default() += group.count;
    }
    ways
}

/// Returns how the connections of a server wait.
fn of_connections(stack: &Stack) -> Ways {
    let mut ways = found(stack);
    ways.retain(|(wait, serving), _| serving.is_some() || wait == "next request");
    ways
}

/// Waits until the tasks of a process wait in these ways.
#[track_caller]
fn settled(pid: i32, of: impl Fn(&Stack) -> Ways, expected: &Ways) {
    let end = Instant::now() + DEADLINE;
    loop {
        let stack = look::stack(pid, &["--tasks"]);
        let found = of(&stack);
        if found == *expected {
            return;
        }
        assert!(
            Instant::now() < end,
            "{found:#?} instead of {expected:#?}: {:#?}",
            stack.task_groups()
        );
    }
}

fn start(kind: &[&str]) -> (Victim, u16) {
    let victim = Victim::start(packages::servers(), kind);
    let port = victim.said().parse().unwrap_or_default();
    (victim, port)
}

/// Starts a server, and clients that use it in each of these ways.
fn serve(kind: &str, visits: &[Visit]) -> (Victim, Vec<TcpStream>) {
    let (victim, port) = start(&[kind]);
    let mut clients = Vec::new();
    for way in visits {
        clients.extend(visit(port, *way));
    }
    (victim, clients)
}

/// Starts a server and a client of it, and waits until both wait in these ways.
fn ask(kinds: [&str; 2], served: &[(&str, Option<&str>, usize)], asked: &[(&str, usize)]) {
    let (server, port) = start(&[kinds[0]]);
    let (client, _) = start(&[kinds[1], &port.to_string()]);
    settled(server.pid(), of_connections, &ways(served));
    let asked: Vec<_> = asked
        .iter()
        .map(|(wait, count)| (*wait, None, *count))
        .collect();
    settled(client.pid(), found, &ways(&asked));
}

#[test]
fn connections_of_http_1_say_what_they_are_about() {
    for kind in ["actix", "axum", "hyper1"] {
        let (server, mut clients) = serve(kind, &Visit::ALL);
        settled(server.pid(), of_connections, &ways(SERVED));
        // The server keeps serving.
        let upload = clients.get_mut(Visit::UPLOAD).unwrap();
        upload.write_all(b"last").unwrap();
        let mut got = [0; 15];
        upload.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"HTTP/1.1 200 OK", "{kind}");
    }
    let visits = [Visit::Idle, Visit::Head, Visit::Order, Visit::Upload];
    let (server, _clients) = serve("warp", &visits);
    let expected = [
        ("HTTP body", Some("handler"), 1),
        ("next request", None, 4),
        ("sleep", Some("handler"), 3),
    ];
    settled(server.pid(), of_connections, &ways(&expected));
}

#[test]
fn pools_and_websockets_have_reasons_of_their_own() {
    let visits = [Visit::Report, Visit::Chat, Visit::Flood];
    let (server, _clients) = serve("axum", &visits);
    let expected = [
        ("pool connection", Some("handler"), 3),
        ("sleep", Some("handler"), 2),
        ("websocket receive", None, 1),
        ("websocket send", None, 1),
    ];
    settled(server.pid(), found, &ways(&expected));
    let stack = look::stack(server.pid(), &["--tasks"]);
    for (place, count) in [("shop::servers::report", 5), ("shop::query", 2)] {
        let groups = stack.task_groups().iter();
        let there = groups.filter(|group| group.has_function(place));
        let found: usize = there.map(|group| group.count).sum();
        assert_eq!(found, count, "{place}");
    }
}

#[test]
fn clients_of_http_1_wait_for_responses_and_bodies() {
    let served = [
        ("next request", None, 1),
        ("response body", Some("response"), 1),
        ("sleep", Some("handler"), 1),
    ];
    // The connections are tasks, too.
    let asked = [("HTTP body", 2), ("HTTP response", 2), ("next request", 1)];
    ask(["hyper1", "hyper1-client"], &served, &asked);
    // So is the one that puts a connection back into the pool.
    let asked = [("HTTP body", 2), ("HTTP response", 3), ("next request", 1)];
    ask(["axum", "pooled-client"], &served, &asked);
}

#[test]
fn streams_of_http_2_say_what_they_are_about() {
    let served = [
        ("HTTP/2 window", Some("response"), 1),
        ("next request", None, 1),
        ("response body", Some("response"), 1),
        ("sleep", Some("handler"), 1),
    ];
    let asked = [
        ("HTTP body", 1),
        ("HTTP response", 2),
        ("HTTP/2 frame", 1),
        ("next request", 1),
    ];
    ask(["hyper2", "hyper2-client"], &served, &asked);
}

#[test]
fn calls_of_tonic_say_what_they_are_about() {
    let served = [
        ("next request", None, 1),
        ("response body", Some("response"), 1),
        ("sleep", Some("handler"), 1),
    ];
    let asked = [
        ("HTTP response", 2),
        ("HTTP/2 frame", 1),
        ("channel receive", 1),
        ("gRPC message", 1),
        ("next request", 1),
    ];
    ask(["tonic", "tonic-client"], &served, &asked);
}
