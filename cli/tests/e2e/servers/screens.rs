//! What an operator reads of servers: on a narrow terminal its first screen, on wider ones and in a pipe all of it.

use std::process::Command;

use regex::Regex;

use super::{SERVED, Ways, of_connections, serve, settled, start, ways};
use crate::{
    look::look,
    redact::redact,
    servers::client::Visit,
    support::eventually,
    terminal::{Size, Terminal},
};

/// The widths of terminals.
const WIDTHS: [u16; 3] = [80, 120, 200];
/// The rows of the narrowest.
const ROWS: usize = 24;
/// Enough for no pager.
const ALL_ROWS: u16 = 400;

/// Compares what is printed of a process with the files in `snapshots`.
fn expect(name: &str, pid: i32) {
    let piped = at_rest(|| look(&["stack"], pid, &[]).success().stdout);
    insta::assert_snapshot!(format!("{name}-pipe"), redact(&piped));
    for columns in WIDTHS {
        let shown = at_rest(|| on_terminal(pid, columns));
        let rows = if columns == WIDTHS[0] {
            ROWS
        } else {
            ALL_ROWS.into()
        };
        let lines: Vec<&str> = shown.lines().take(rows).collect();
        let shown = unbroken(&lines.join("\n"));
        insta::assert_snapshot!(format!("{name}-{columns}"), redact(&shown));
    }
}

/// With the line about the pause as one: where it goes on depends on how long that took.
fn unbroken(text: &str) -> String {
    let broken = Regex::new(r"(looked at from outside.*)\n +(.*)").unwrap();
    broken.replace(text, "$1 $2").into_owned()
}

fn on_terminal(pid: i32, columns: u16) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command.args(["stack", &pid.to_string(), "--color=never", "--timeout=60s"]);
    let size = Size {
        columns,
        rows: ALL_ROWS,
    };
    let mut terminal = Terminal::run(size, &command);
    assert!(terminal.wait().success());
    terminal.lines().join("\n")
}

/// Looks until no task has a turn, as that of a timer has now and then.
fn at_rest(look: impl Fn() -> String) -> String {
    let mut text = String::new();
    eventually("no task has a turn", || {
        text = look();
        !text.contains("[woken") && !text.contains("[running")
    });
    text
}

/// A server that is used so.
fn served(name: &str, kind: &str, visits: &[Visit], expected: &Ways) {
    let (server, _clients) = serve(kind, visits);
    settled(server.pid(), of_connections, expected);
    expect(name, server.pid());
}

#[test]
fn an_axum_service_with_idle_slow_and_hung_requests() {
    served("axum", "axum", &Visit::ALL, &ways(SERVED));
}

#[test]
fn an_actix_service_with_idle_slow_and_hung_requests() {
    served("actix", "actix", &Visit::ALL, &ways(SERVED));
}

#[test]
fn an_axum_service_whose_pool_is_exhausted() {
    let expected = [
        ("next request", None, 3),
        ("pool connection", Some("handler"), 3),
        ("sleep", Some("handler"), 2),
    ];
    served(
        "pool",
        "axum",
        &[Visit::Report, Visit::Idle],
        &ways(&expected),
    );
}

#[test]
fn a_tonic_service_with_a_stream_and_a_hung_call() {
    let (server, port) = start(&["tonic"]);
    let (_client, _) = start(&["tonic-client", &port.to_string()]);
    let expected = [
        ("next request", None, 1),
        ("response body", Some("response"), 1),
        ("sleep", Some("handler"), 1),
    ];
    settled(server.pid(), of_connections, &ways(&expected));
    expect("tonic", server.pid());
}
