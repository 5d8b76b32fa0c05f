//! Peers that lie, babble or fall silent: `rtops` ends in time with a sentence and the right exit
//! code, and none of their output acts on the terminal.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    process::Command,
    thread,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use rtops_protocol::{
    Allocator, Build, Capabilities, Claim, ClaimMode, ClaimRole, Counted, End, Fact, Figure, Hello,
    Memory, Package, Process, Refusal, Refused, Reply, Request, Resource, ResourceKind, SizeClass,
    SourceLocation, Stacks, Stats, StringId, Strings, Summary, Thread, ThreadCapture, TrimCall,
    Trimmed, Unit,
};
use rtops_report::dump::fixtures::task;
use support::{
    assert_code, attached, hello, own_pid, peer, peer_sending, rtops, say_hello, socket_of, stderr,
    stdout,
};

/// What hostile text may contain: escape sequences, line breaks, reordering marks.
const NASTY: &str = "\x1b[2J\x1b]0;owned\x07\r\nfake line\u{202e}\u{9b}31m";

fn place() -> SourceLocation {
    SourceLocation {
        file: StringId(1),
        line: u32::MAX,
        column: 0,
    }
}

/// Returns a claim. One by a task or on a resource that does not
/// exist must not appear in the answer.
fn claim(role: ClaimRole, task: u64) -> Claim {
    Claim {
        resource: if task == 99 { u64::MAX } else { 1 },
        role,
        task,
        tid: i32::MIN,
        since_ns: u64::MAX,
        site: place(),
        mode: ClaimMode::Shared,
        permits: u32::MAX,
    }
}

fn dump(name: &str, end: Option<End>) -> Vec<Reply> {
    let mut replies = vec![
        Reply::Process(Process {
            name: name.to_owned(),
            tracked_on_tokio: Some(1),
            alive_on_tokio: Some(1),
            tracking: None,
        }),
        Reply::Strings(Strings(vec![name.to_owned()])),
        Reply::Stacks(Stacks(vec![vec![0x1234]])),
        Reply::Tasks(vec![task(1, 1, &[0])]),
        Reply::Threads(vec![Thread {
            tid: 1,
            name: Some(name.to_owned()),
            state: Some('S'),
            wchan: Some(name.to_owned()),
            syscall: None,
            cpu_ticks: Some(0),
            timeslices: Some(7),
            afterwards: None,
            capture: ThreadCapture::NoAnswer,
        }]),
        Reply::Resources(vec![Resource {
            id: 1,
            kind: ResourceKind::RwLock,
            value_type: StringId(1),
            site: place(),
        }]),
        Reply::Claims(vec![
            claim(ClaimRole::Waiter, 1),
            claim(ClaimRole::Holder, 1),
            claim(ClaimRole::Holder, 99),
            claim(ClaimRole::Holder, 0),
            claim(ClaimRole::Waiter, 99),
        ]),
    ];
    replies.extend(end.map(Reply::End));
    replies
}

/// Returns figures that no process has, under names that no allocator uses.
fn memory(classes: usize) -> Memory {
    let figure = Figure {
        name: NASTY.to_owned(),
        unit: Unit::Bytes,
        value: u64::MAX,
    };
    let allocator = Allocator {
        name: NASTY.to_owned(),
        held: Some(u64::MAX),
        in_use: Some(u64::MAX),
        kept: Some(u64::MAX),
        figures: vec![figure],
        notes: vec![NASTY.to_owned()],
        took_ns: u64::MAX,
    };
    let class = SizeClass {
        up_to: 0,
        live_blocks: u64::MAX,
        live_bytes: u64::MAX,
        blocks: u64::MAX,
        bytes: u64::MAX,
    };
    Memory {
        clock_ns: u64::MAX,
        allocators: vec![allocator.clone(), allocator],
        counted: Some(Counted {
            allocations: u64::MAX,
            frees: u64::MAX,
            reallocations: 0,
            classes: vec![class; classes],
        }),
    }
}

fn trimmed() -> Trimmed {
    let call = TrimCall {
        allocator: NASTY.to_owned(),
        call: NASTY.to_owned(),
        took_ns: u64::MAX,
        failed: None,
    };
    Trimmed {
        before: memory(1),
        calls: vec![call],
        after: memory(0),
    }
}

#[track_caller]
fn assert_harmless(text: &str) {
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
}

#[test]
fn babble_is_told_from_an_agent() {
    let directory = peer(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nServer: other\r\n\r\n"));
    });
    let output = rtops(directory.path(), &["stats", &own_pid()]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("does not speak the rtops protocol"));
    let output = rtops(directory.path(), &["list"]);
    assert_code(&output, 0);
    assert!(!stdout(&output).contains(&own_pid()));
}

#[test]
fn a_silent_peer_is_given_up() {
    let directory = peer(|mut stream| {
        // The read returns when the client hangs up.
        drop(stream.read(&mut [0]));
    });
    for command in ["stats", "stack"] {
        let output = rtops(
            directory.path(),
            &[command, &own_pid(), "--timeout", "300ms"],
        );
        assert_code(&output, 6);
        assert!(stderr(&output).contains("did not answer within 300 ms"));
    }
    let output = rtops(directory.path(), &["list"]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("not answering"));
}

#[test]
fn a_peer_that_drips_is_given_up() {
    let directory = peer(|mut stream| {
        let mut frame = vec![b'R', b'T', b'O', b'P', 1, 0, 1, 0];
        frame.extend(1_000_000_u32.to_le_bytes());
        frame.resize(1000, 0);
        for byte in frame {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let output = rtops(
        directory.path(),
        &["stats", &own_pid(), "--timeout", "300ms"],
    );
    assert_code(&output, 6);
}

#[test]
fn a_full_backlog_blocks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_of(directory.path(), std::process::id());
    let address = UnixAddr::new(&path).unwrap();
    let new = |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let listener = new(SockFlag::SOCK_CLOEXEC);
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = new(SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC);
        if connect(client.as_raw_fd(), &address).is_err() {
            break;
        }
        waiting.push(client);
    }
    let output = rtops(directory.path(), &["list"]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("not answering"), "{output:?}");
    let output = rtops(
        directory.path(),
        &["stats", &own_pid(), "--timeout", "300ms"],
    );
    assert_code(&output, 6);
}

#[test]
fn another_process_on_the_socket_is_not_believed() {
    let directory = peer_sending(dump("impostor", Some(End { gaps: Vec::new() })));
    let mut child = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::fs::rename(
        socket_of(directory.path(), std::process::id()),
        socket_of(directory.path(), child.id()),
    )
    .unwrap();
    let pid = child.id().to_string();
    let output = rtops(directory.path(), &["stack", &pid, "--attach=never"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_code(&output, 4);
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_frame_that_claims_too_much_is_refused() {
    let directory = peer(|mut stream| {
        say_hello(&mut stream, hello());
        let mut header = b"RTOP\x01\x00\x20\x00".to_vec();
        header.extend(u32::MAX.to_le_bytes());
        drop(stream.write_all(&header));
    });
    let output = rtops(directory.path(), &["stack", &own_pid()]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("longer than"));
}

#[test]
fn an_endless_answer_ends() {
    let directory = peer(|mut stream| {
        say_hello(&mut stream, hello());
        let stacks = Reply::Stacks(Stacks(vec![Vec::new(); 100_000]));
        while stacks.send(&mut stream).is_ok() {}
    });
    let output = rtops(directory.path(), &["stack", &own_pid(), "--timeout", "30s"]);
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("more than 2000000 stacks"),
        "{output:?}"
    );
}

#[test]
fn numbers_that_name_nothing_are_refused() {
    for task in [
        task(1, 2, &[0]),
        task(1, 1, &[1]),
        task(1, u32::MAX, &[u32::MAX]),
    ] {
        let mut replies = dump("peer", None);
        replies.push(Reply::Tasks(vec![task]));
        let directory = peer_sending(replies);
        let output = rtops(directory.path(), &["stack", &own_pid()]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("not there"), "{output:?}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn an_answer_to_a_wish_to_attach_is_its_end_or_nonsense() {
    let directory = peer_sending(vec![dump("peer", None).remove(0)]);
    let output = attached(directory.path(), &["stack", &own_pid()], true);
    assert_code(&output, 1);
    assert_eq!(stdout(&output), "");
}

#[test]
fn other_versions_end_with_7() {
    for (oldest_version, newest_version, advice) in
        [(7, 9, "install a newer rtops"), (0, 0, "newer rtops-agent")]
    {
        let directory = peer(move |mut stream| {
            let hello = Hello {
                oldest_version,
                newest_version,
                ..hello()
            };
            say_hello(&mut stream, hello);
            drop(stream.read(&mut [0]));
        });
        let output = rtops(directory.path(), &["stack", &own_pid()]);
        assert_code(&output, 7);
        assert!(stderr(&output).contains(advice), "{output:?}");
        let output = rtops(directory.path(), &["list"]);
        assert!(stdout(&output).contains(&format!("protocol {newest_version}")));
    }
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    for (why, code, word) in [
        (Refusal::Busy, 1, "is busy"),
        (Refusal::Permission, 5, "as root"),
        (Refusal::Unsupported, 7, "newer rtops-agent"),
        (Refusal::Disabled, 1, "switched off"),
        (Refusal::Failed, 1, "try again"),
    ] {
        let refused = Refused {
            why,
            message: NASTY.to_owned(),
        };
        let directory = peer_sending(vec![Reply::Refused(refused)]);
        for command in ["stats", "stack", "trim"] {
            let output = rtops(directory.path(), &[command, &own_pid()]);
            assert_code(&output, code);
            assert!(stderr(&output).contains(word), "{output:?}");
            assert_harmless(&stderr(&output));
        }
        // An agent that is too old or switched off is no failure: the kernel's data is shown.
        let code = if matches!(why, Refusal::Disabled | Refusal::Unsupported) {
            0
        } else {
            code
        };
        let output = rtops(directory.path(), &["memstats", &own_pid()]);
        assert_code(&output, code);
        assert!(stdout(&output).contains(word), "{output:?}");
        assert!(stdout(&output).contains("anonymous"), "{output:?}");
        assert_harmless(&stdout(&output));
    }
}

#[test]
fn an_agent_that_can_do_nothing_ends_with_7() {
    let directory = peer(|mut stream: UnixStream| {
        let hello = Hello {
            capabilities: Capabilities(0),
            ..hello()
        };
        say_hello(&mut stream, hello);
        drop(stream.read(&mut [0]));
    });
    for arguments in [&["stats"][..], &["stack"], &["stack", "--threads"]] {
        let pid = own_pid();
        let arguments: Vec<&str> = arguments.iter().copied().chain([pid.as_str()]).collect();
        assert_code(&rtops(directory.path(), &arguments), 7);
    }
}

#[test]
fn what_an_agent_says_of_its_build_is_harmless_and_no_condition() {
    let nasty = || NASTY.to_owned();
    let build = Build {
        package: Some(Package {
            name: nasty(),
            version: nasty(),
        }),
        facts: vec![
            Fact {
                key: nasty(),
                value: nasty(),
            };
            3
        ],
        agent_features: vec![nasty()],
    };
    for (reply, code) in [
        (Reply::Build(build), 0),
        (Reply::End(End { gaps: Vec::new() }), 6),
    ] {
        let directory = peer(move |mut stream: UnixStream| {
            let hello = Hello {
                capabilities: Capabilities(u64::MAX),
                name: NASTY.to_owned(),
                agent_version: NASTY.to_owned(),
                ..hello()
            };
            say_hello(&mut stream, hello);
            if Request::receive(&mut stream).is_ok() {
                // A reply that this build does not know can't be sent: the peer hangs up.
                drop(reply.send(&mut stream));
            }
        });
        let output = rtops(directory.path(), &["version", &own_pid()]);
        assert_code(&output, code);
        assert_harmless(&stdout(&output));
        assert_harmless(&stderr(&output));
        // Data read from the executable is shown whatever the agent says.
        assert!(
            stdout(&output).contains("crate       hostile_agents\n"),
            "{output:?}"
        );
        if code == 0 {
            assert!(
                stdout(&output).contains("58 more that this rtops does not know"),
                "{output:?}"
            );
        }
        let listed = rtops(directory.path(), &["tree", &own_pid()]);
        assert_code(&listed, 0);
        assert_harmless(&stdout(&listed));
    }
}

#[test]
fn more_figures_than_there_can_be_are_refused() {
    let directory = peer_sending(vec![Reply::Memory(memory(300))]);
    let output = rtops(directory.path(), &["memstats", &own_pid()]);
    assert_code(&output, 1);
    assert!(stdout(&output).contains("heap not known"), "{output:?}");
    assert!(stderr(&output).contains("too many"), "{output:?}");
    let directory = peer_sending(vec![Reply::End(End { gaps: Vec::new() })]);
    for command in ["memstats", "trim"] {
        let output = rtops(directory.path(), &[command, &own_pid()]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("without figures"), "{output:?}");
    }
}

#[test]
fn gaps_are_shown_and_end_with_6() {
    let gaps = vec!["3 threads did not answer".to_owned()];
    let directory = peer_sending(dump("peer", Some(End { gaps })));
    let output = rtops(directory.path(), &["stack", &own_pid()]);
    assert_code(&output, 6);
    assert!(stdout(&output).contains("1 task \"peer\""));
    assert!(stdout(&output).contains("incomplete: 3 threads did not answer"));
    assert!(stderr(&output).contains("not complete: 3 threads did not answer"));
    let output = rtops(directory.path(), &["stack", &own_pid(), "--json"]);
    assert_code(&output, 6);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["complete"], false);
    assert_eq!(document["gaps"][0], "3 threads did not answer");
}

#[test]
fn a_dump_that_breaks_off_is_shown_as_incomplete() {
    let directory = peer_sending(dump("peer", None));
    let output = rtops(directory.path(), &["stack", &own_pid()]);
    assert_code(&output, 6);
    assert!(stdout(&output).contains("1 task \"peer\""));
    assert!(stderr(&output).contains("broke before the end"));
}

#[test]
fn nothing_of_theirs_acts_on_the_terminal() {
    let gaps = vec![NASTY.to_owned()];
    let stats = Stats {
        name: NASTY.to_owned(),
        ..Stats::default()
    };
    let summary = Summary {
        name: NASTY.to_owned(),
        tracked_tasks: u64::MAX,
        alive_tasks: u64::MAX,
    };
    for (command, replies) in [
        ("stack", dump(NASTY, Some(End { gaps }))),
        ("stats", vec![Reply::Stats(stats)]),
        ("memstats", vec![Reply::Memory(memory(3))]),
        ("trim", vec![Reply::Trimmed(trimmed())]),
        ("list", vec![Reply::Summary(summary)]),
    ] {
        let directory = peer(move |mut stream| {
            let hello = Hello {
                name: NASTY.to_owned(),
                agent_version: NASTY.to_owned(),
                ..hello()
            };
            say_hello(&mut stream, hello);
            if rtops_protocol::Request::receive(&mut stream).is_ok() {
                drop(replies.iter().try_for_each(|reply| reply.send(&mut stream)));
            }
        });
        let pid = own_pid();
        let arguments = match command {
            "list" => vec!["list"],
            _ => vec![command, pid.as_str()],
        };
        let output = rtops(directory.path(), &arguments);
        assert!(stdout(&output).contains("\\u{1b}[2J"), "{output:?}");
        if command == "stack" {
            assert!(stdout(&output).contains("held for reading by this task itself"));
        }
        assert_harmless(&stdout(&output));
        assert_harmless(&stderr(&output));

        let output = rtops(directory.path(), &[&arguments[..], &["--json"]].concat());
        assert_harmless(&stdout(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let name = match command {
            "list" => &document["processes"][0]["name"],
            _ => &document["process"]["name"],
        };
        assert_eq!(name, NASTY);
    }
}

#[test]
fn a_list_waits_only_so_long() {
    let directory = peer(|mut stream| {
        drop(stream.read(&mut [0]));
    });
    // If `rtops` hangs, it is killed at the deadline and returns no code.
    assert_code(&rtops(directory.path(), &["list"]), 0);
}
