//! A third-party service, as published in the registry: mini-redis with two hundred clients.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use super::{Victim, packages, stack};
use crate::{
    look,
    reply::{Stack, TaskGroup},
};

const CLIENTS: usize = 200;
const GET: &[u8] = b"*2\r\n$3\r\nget\r\n$3\r\nkey\r\n";
const NONE: &[u8] = b"$-1\r\n";

#[test]
fn each_client_of_mini_redis_shows_where_it_is_served() {
    let victim = Victim::start(&packages::redis(), &[]);
    let port: u16 = victim.said().parse().unwrap();
    let connect = |_| TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    // Half of them subscribe; the others send one request.
    for (number, client) in clients.iter_mut().enumerate() {
        let (request, answer): (&[u8], &[u8]) = if number % 2 == 0 {
            (
                b"*2\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n",
                b"*3\r\n$9\r\nsubscribe\r\n",
            )
        } else {
            (GET, NONE)
        };
        client.write_all(request).unwrap();
        let mut got = vec![0; answer.len()];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, answer, "client {number}");
    }
    let victim = victim.quiet();
    // A look from outside shows the same, and the service keeps serving all clients.
    expect(&look::stack(victim.pid(), &["--tasks"]));
    for client in clients.iter_mut().skip(1).step_by(2) {
        client.write_all(GET).unwrap();
        let mut got = [0; NONE.len()];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, NONE);
    }
    let mut victim = victim.quiet();
    let Some(core) = victim.dump() else { return };
    expect(&stack(&core, &["--tasks"]));
    fs::remove_file(core).unwrap();
}

fn expect(stack: &Stack) {
    let [subscribed, reading] = ["cmd/subscribe.rs", "connection.rs"].map(|file| at(stack, file));
    // A client that has subscribed reads, too.
    assert_eq!(
        (subscribed, reading),
        (CLIENTS / 2, CLIENTS),
        "{:#?}",
        stack.task_groups()
    );
}

/// Returns how many tasks have a line in this file of mini-redis.
fn at(stack: &Stack, file: &str) -> usize {
    let path = format!("mini-redis-0.4.1/src/{file}");
    let is_in = |group: &&TaskGroup| {
        let mut frames = group.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(|frame| {
            let file = frame.file.as_deref();
            file.is_some_and(|file| file.ends_with(&path))
        })
    };
    let groups = stack.task_groups().iter().filter(is_in);
    groups.map(|group| group.tasks.len()).sum()
}
