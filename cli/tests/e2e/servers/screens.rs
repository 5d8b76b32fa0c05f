//! What an operator sees of servers: the first screen on a narrow terminal,
//! everything on wider ones and in a pipe.

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

/// The widths of the terminals.
const WIDTHS: [u16; 3] = [80, 120, 200];
/// The rows of the narrowest terminal.
const ROWS: usize = 24;
/// Enough to need no pager.
const ALL_ROWS: u16 = 400;

/// Compares what is printed about a process with the files in `snapshots`.
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

/// Joins the line about the pause: where it breaks depends on the length of the pause.
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

/// Looks until no task is woken or running, as a timer's task is now and then.
fn at_rest(look: impl Fn() -> String) -> String {
    let mut text = String::new();
    eventually("no task has a turn", || {
        text = look();
        !text.contains("[woken") && !text.contains("[running")
    });
    text
}

/// Starts a server with these visits, and compares its screens.
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
