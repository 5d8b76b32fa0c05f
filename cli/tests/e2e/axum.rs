//! An axum service from the registry's packages, without an agent: each request shows where it is served.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    core::packages,
    look,
    reply::{Frame, Stack, TaskGroup},
    source::{Mark, Marks},
    support::eventually,
    victim::Victim,
};

/// How many requests come to each place where they wait.
const USERS: usize = 5;
const UPLOADS: usize = 3;
/// One of these has a place in the pool.
const REPORTS: usize = 4;

#[test]
fn each_request_shows_where_it_is_served() {
    let victim = Victim::start(&packages::axum(), &[]);
    let port: u16 = victim.said().parse().unwrap();
    let send = |count, request: &'static str| {
        let send = move |_| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            client
        };
        (0..count).map(send)
    };
    let mut clients: Vec<TcpStream> = Vec::new();
    clients.extend(send(USERS, "GET /users/7 HTTP/1.1\r\nHost: shop\r\n\r\n"));
    clients.extend(send(
        UPLOADS,
        "POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nfirst",
    ));
    clients.extend(send(REPORTS, "GET /report HTTP/1.1\r\nHost: shop\r\n\r\n"));
    let marks = Marks::of_text(packages::AXUM, "service/src/main.rs");
    eventually("all requests wait where they are served", || {
        let stack = look::stack(victim.pid(), &["--tasks"]);
        let at = |name: &str| marks.of(name).iter().map(|mark| at(&stack, mark)).sum();
        let waiting: [usize; 3] = ["user", "report", "working"].map(at);
        let reads_body = |group: &&TaskGroup| group.waits.iter().any(|wait| wait == "HTTP body");
        let uploading = stack.task_groups().iter().filter(reads_body);
        let uploading: usize = uploading.map(|group| group.tasks.len()).sum();
        (waiting, uploading) == ([USERS, REPORTS - 1, 1], UPLOADS)
    });
    // And it serves on.
    for client in clients.iter_mut().skip(USERS).take(UPLOADS) {
        client.write_all(b"last").unwrap();
        let mut got = [0; 15];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"HTTP/1.1 200 OK");
    }
}

/// How many tasks wait at a line.
fn at(stack: &Stack, mark: &Mark) -> usize {
    count(stack, |frame| {
        let file = frame.file.as_deref();
        file.is_some_and(|file| file.ends_with(&mark.file)) && frame.line == Some(mark.line)
    })
}

/// How many tasks have a frame of this kind.
fn count(stack: &Stack, is_there: impl Fn(&Frame) -> bool) -> usize {
    let has_one = |group: &&TaskGroup| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(&is_there)
    };
    let groups = stack.task_groups().iter().filter(has_one);
    groups.map(|group| group.tasks.len()).sum()
}
