//! Where `rtops profile` writes, and what it returns. `e2e` checks the profiles
//! themselves, with real processes and Go's reader.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
};

use nix::pty::openpty;
use rtops_protocol::{Capabilities, End, Hello, Refusal, Refused, Reply};
use support::{assert_code, hello, own_pid, peer, peer_sending, rtops, say_hello, stderr, stdout};

const GZIP: [u8; 2] = [0x1f, 0x8b];

fn end(gaps: &[&str]) -> Vec<Reply> {
    let gaps = gaps.iter().map(|gap| (*gap).to_owned()).collect();
    vec![Reply::Tasks(Vec::new()), Reply::End(End { gaps })]
}

#[test]
fn a_binary_profile_is_not_written_to_a_terminal() {
    let directory = peer_sending(end(&[]));
    let on_terminal = |arguments: &[&str]| {
        let terminal = openpty(None, None).unwrap();
        Command::new(env!("CARGO_BIN_EXE_rtops"))
            .env_clear()
            .env("RTOPS_DIR", directory.path())
            .args(["profile", "tasks", &own_pid(), "--attach=never"])
            .args(arguments)
            .stdout(terminal.slave)
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    };
    let output = on_terminal(&[]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("name a file with -o, or ask for text with --debug 1"));
    let file = directory.path().join("tasks.pb.gz");
    assert_code(&on_terminal(&["-o", file.to_str().unwrap()]), 0);
    assert_eq!(fs::read(file).unwrap()[..2], GZIP);
    assert_code(&on_terminal(&["--debug", "1"]), 0);
}

#[test]
fn a_pipe_takes_every_format() {
    let directory = peer_sending(end(&[]));
    let profile = |debug| {
        let output = rtops(
            directory.path(),
            &["profile", "tasks", &own_pid(), "--debug", debug],
        );
        assert_code(&output, 0);
        output
    };
    assert_eq!(profile("0").stdout[..2], GZIP);
    assert_eq!(stdout(&profile("1")), "goroutine profile: total 0\n");
    assert_eq!(stdout(&profile("2")), "");
}

#[test]
fn wrong_usage_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["profile"][..],
        &["profile", "heap", "1"],
        &["profile", "tasks", "1", "--debug", "3"],
        &["profile", "tasks", "1", "--debug", "1", "--json"],
    ] {
        let output = rtops(directory.path(), arguments);
        assert_code(&output, 2);
        assert_eq!(stdout(&output), "");
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn what_is_missing_is_told_in_the_profile_and_ends_with_6() {
    let directory = peer_sending(end(&["no time for 7 tasks\u{9b}2J"]));
    for (debug, told) in [
        ("0", None),
        (
            "1",
            Some("goroutine profile: total 0\n# incomplete: no time for 7 tasks\\u{9b}2J\n"),
        ),
        ("2", Some("# incomplete: no time for 7 tasks\\u{9b}2J\n")),
    ] {
        let output = rtops(
            directory.path(),
            &["profile", "tasks", &own_pid(), "--debug", debug],
        );
        assert_code(&output, 6);
        assert!(stderr(&output).contains("not complete: no time for 7 tasks"));
        match told {
            Some(told) => assert_eq!(stdout(&output), told),
            None => assert_eq!(output.stdout[..2], GZIP),
        }
    }
}

#[test]
fn a_failure_leaves_the_file_alone() {
    let refused = Refused {
        why: Refusal::Busy,
        message: String::new(),
    };
    let busy = peer_sending(vec![Reply::Refused(refused)]);
    let incapable = peer(|mut stream| {
        let hello = Hello {
            capabilities: Capabilities::THREADS,
            ..hello()
        };
        say_hello(&mut stream, hello);
        drop(stream.read(&mut [0]));
    });
    let nobody = tempfile::tempdir().unwrap();
    // This process listens as agents do, which `rtops` finds out wherever the sockets are.
    let mut without_agent = Command::new("sleep").arg("600").spawn().unwrap();
    let other_pid = without_agent.id().to_string();
    for (directory, pid, code) in [
        (busy, own_pid(), 1),
        (incapable, own_pid(), 7),
        (nobody, other_pid, 4),
    ] {
        let file = directory.path().join("tasks.pb.gz");
        fs::write(&file, "yesterday's").unwrap();
        let name = file.to_str().unwrap();
        let output = rtops(
            directory.path(),
            &["profile", "tasks", &pid, "--attach=never", "-o", name],
        );
        assert_code(&output, code);
        assert_eq!(fs::read_to_string(file).unwrap(), "yesterday's");
    }
    without_agent.kill().unwrap();
    without_agent.wait().unwrap();
}
