//! What `rtops` asks for of a copy of the process, and what it makes of an answer that is not to be
//! trusted.
#![allow(clippy::unwrap_used)]

mod support;

use std::{process::Output, sync::mpsc};

use rtops_protocol::{
    Capabilities, CopyDetail, CopyOutcome, CopyReport, CopyRequest, CopyWhen, DumpRequest, End,
    FoundBy, Hello, Leaf, LeafEnd, Process, Reply, Request, StackId, Stacks, Stats, TraceId,
    Unresolved, Untracked, UntrackedState,
};
use support::{assert_code, hello, own_pid, peer, rtops, say_hello, stderr, stdout};

const NASTY: &str = "\x1b[2J\x1b]0;owned\x07\r\nfake line\u{202e}";

fn untracked(number: u64, state: UntrackedState) -> Untracked {
    Untracked {
        number: Some(number),
        tokio: 0,
        cell: None,
        poll: 0x1234,
        boxed_poll: None,
        state,
        wakers: 1,
        has_join_handle: true,
        found_by: FoundBy::Hook,
        trace: None,
        leaves: vec![Leaf {
            stack: StackId(0),
            end: LeafEnd::Complete,
        }],
    }
}

fn dump(tasks: Vec<Untracked>, outcome: CopyOutcome) -> Vec<Reply> {
    vec![
        Reply::Process(Process {
            name: "peer".to_owned(),
            tracked_on_tokio: Some(0),
            alive_on_tokio: Some(3),
        }),
        Reply::Stacks(Stacks(vec![vec![0x5678]])),
        Reply::Untracked(tasks),
        Reply::CopyReport(CopyReport {
            outcome,
            pause_ns: 1_500_000,
            lived_ns: 20_000_000,
            tasks: 3,
            tracked: 0,
            stepped: 1,
        }),
        Reply::End(End { gaps: Vec::new() }),
    ]
}

/// Runs `rtops` against a peer that can do what `capabilities` says and answers a dump with these
/// frames; returns what it was asked for, counters left out.
fn ask(
    capabilities: Capabilities,
    replies: Vec<Reply>,
    arguments: &[&str],
) -> (Output, Vec<Request>) {
    let (sender, requests) = mpsc::channel();
    let directory = peer(move |mut stream| {
        let hello = Hello {
            capabilities,
            ..hello()
        };
        say_hello(&mut stream, hello);
        let stats = [Reply::Stats(Stats::default())];
        // The client may have heard enough and gone.
        match Request::receive(&mut stream) {
            Ok(Request::Stats) => drop(stats.iter().try_for_each(|reply| reply.send(&mut stream))),
            Ok(request) => {
                drop(sender.send(request));
                drop(replies.iter().try_for_each(|reply| reply.send(&mut stream)));
            }
            Err(_) => {}
        }
    });
    let pid = own_pid();
    let (command, rest) = arguments.split_first().unwrap();
    let arguments: Vec<&str> = [command, &&*pid].into_iter().chain(rest).copied().collect();
    let output = rtops(directory.path(), &arguments);
    // It was noted before it was answered.
    let requests = requests.try_iter().collect();
    (output, requests)
}

fn all() -> Capabilities {
    hello()
        .capabilities
        .with(Capabilities::EVIDENCE)
        .with(Capabilities::COPY)
}

#[test]
fn a_copy_is_asked_for_where_the_agent_can_and_the_user_does_not_mind() {
    let without = hello().capabilities.with(Capabilities::EVIDENCE);
    let copy = |when, max_pause_us| {
        let detail = CopyDetail::Trees;
        Some(CopyRequest {
            detail,
            when,
            max_pause_us,
        })
    };
    for (capabilities, arguments, expected) in [
        (all(), &["stack"][..], copy(CopyWhen::Needed, 25_000)),
        (
            all(),
            &["stack", "--copy", "always", "--max-pause", "2s"],
            copy(CopyWhen::Always, 2_000_000),
        ),
        (all(), &["stack", "--copy", "never"], None),
        (all(), &["stack", "--threads"], None),
        (without, &["stack"], None),
        (
            all(),
            &["leaks", "--for", "0"],
            copy(CopyWhen::Needed, 25_000),
        ),
    ] {
        let replies = dump(Vec::new(), CopyOutcome::Made);
        let (output, requests) = ask(capabilities, replies, arguments);
        assert_code(&output, 0);
        let [request] = requests.as_slice() else {
            panic!("{requests:?}");
        };
        match (request, expected) {
            (Request::DumpWithCopy(DumpRequest { .. }, copy), Some(expected)) => {
                assert_eq!(*copy, expected, "{arguments:?}");
            }
            (Request::Dump(_), None) => {}
            _ => panic!("{arguments:?}: {request:?}"),
        }
    }
    let (output, requests) = ask(without, Vec::new(), &["stack", "--copy", "always"]);
    assert_code(&output, 7);
    assert!(stderr(&output).contains("find untracked tasks"));
    assert_eq!(requests, []);
}

#[test]
fn a_copy_that_was_not_made_is_told_and_counts_where_it_was_wanted() {
    let refused = || CopyOutcome::Refused(NASTY.to_owned());
    let unsupported = || CopyOutcome::Unsupported(NASTY.to_owned());
    for (outcome, arguments, code) in [
        (refused(), &["stack"][..], 6),
        (refused(), &["stack", "--copy", "always"], 6),
        (refused(), &["leaks", "--for", "0"], 6),
        (unsupported(), &["stack"], 0),
        (unsupported(), &["stack", "--copy", "always"], 6),
        (CopyOutcome::Disabled, &["stack"], 0),
        (CopyOutcome::Disabled, &["stack", "--copy", "always"], 6),
    ] {
        let (output, _) = ask(all(), dump(Vec::new(), outcome), arguments);
        assert_code(&output, code);
        let text = stdout(&output);
        let lines = text
            .lines()
            .filter(|line| line.contains("no copy of the process"));
        assert_eq!(lines.count(), 1, "{text}");
        assert!(text.contains("3 untracked tasks are not shown"));
        for text in [text, stderr(&output)] {
            assert!(
                !text.contains('\x1b') && !text.contains('\u{202e}'),
                "{text:?}"
            );
        }
    }
    let (output, _) = ask(all(), dump(Vec::new(), CopyOutcome::NotNeeded), &["stack"]);
    assert_code(&output, 0);
    assert!(!stdout(&output).contains("copy"), "{output:?}");
}

#[test]
fn what_is_not_known_is_null_and_never_0() {
    let idle = untracked(7, UntrackedState::Idle);
    let locked = Untracked {
        found_by: FoundBy::Unresolved(Unresolved::Locked),
        leaves: Vec::new(),
        ..untracked(8, UntrackedState::Idle)
    };
    let replies = || dump(vec![idle.clone(), locked.clone()], CopyOutcome::Made);
    let (output, _) = ask(all(), replies(), &["stack", "--json"]);
    assert_code(&output, 0);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["copy"]["outcome"], "made");
    assert_eq!(document["copy"]["pause_ms"], 1.5);
    let groups = document["tasks"]["groups"].as_array().unwrap();
    let task = |obtained: &str| {
        let mut tasks = groups.iter().map(|group| (group, &group["tasks"][0]));
        let found = tasks.find(|(_, task)| task["obtained"] == obtained);
        found.unwrap_or_else(|| panic!("{document:#}"))
    };
    let (group, hooked) = task("hooked");
    assert_eq!(hooked["tokio_id"], 7);
    assert_eq!((&hooked["tokio"], &hooked["id"]), (&0.into(), &1.into()));
    assert_eq!(hooked["tracked"], false);
    for unknown in ["cell", "age_ns", "since_ns", "polls", "reason"] {
        assert!(hooked[unknown].is_null(), "{hooked:#}");
    }
    for unknown in ["oldest_ns", "longest_ns", "site", "name"] {
        assert!(group[unknown].is_null(), "{group:#}");
    }
    assert_eq!(task("not resolved").1["reason"], "locked");

    let (output, _) = ask(all(), replies(), &["stats", "--json"]);
    assert_code(&output, 0);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["untracked"]["tasks"], 2);
    assert_eq!(document["untracked"]["by_type"][0]["idle"], 2);
    assert_eq!(document["untracked"]["by_type"][0]["future_type"], "0x1234");
}

#[test]
fn a_saved_dump_has_them_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump");
    let file = file.to_str().unwrap();
    let replies = || dump(vec![untracked(7, UntrackedState::Idle)], CopyOutcome::Made);
    let (live, _) = ask(all(), replies(), &["stack", "--save", file]);
    assert_code(&live, 0);
    assert!(
        stdout(&live).contains("1 task 0x1234 [waiting]"),
        "{live:?}"
    );
    let saved = rtops(directory.path(), &["stack", "--from", file]);
    assert_eq!(stdout(&saved), stdout(&live));
    let output = rtops(directory.path(), &["leaks", "--from", file]);
    assert_code(&output, 0);
}

#[test]
fn what_is_named_and_not_there_is_refused() {
    let stepped = Untracked {
        trace: Some(TraceId(0)),
        ..untracked(7, UntrackedState::Idle)
    };
    let (output, _) = ask(all(), dump(vec![stepped], CopyOutcome::Made), &["stack"]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("nonsense"), "{output:?}");
    assert_eq!(stdout(&output), "");
}
