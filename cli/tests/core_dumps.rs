//! The output of `rtops` for a dump that was saved from a core file.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs::File, path::Path, process::Output};

use rtops_protocol::{
    Access, CoreHead, End, FoundBy, Reply, Saved, Signal, Thread, ThreadCapture, Unresolved,
    Untracked, UntrackedState,
};
use rtops_types::Pid;
use serde_json::{Value, json};
use support::{assert_code, rtops, stderr, stdout};

fn untracked(state: UntrackedState) -> Untracked {
    Untracked {
        number: None,
        tokio: 1,
        cell: Some(0x7f00_0000_0080),
        mark: None,
        poll: 0x1234,
        boxed_poll: None,
        state,
        wakers: 1,
        has_join_handle: true,
        found_by: FoundBy::Unresolved(Unresolved::Instruction),
        trace: None,
        polled: Vec::new(),
        wakes_itself: None,
        leaves: Vec::new(),
    }
}

fn dump() -> Vec<Reply> {
    let thread = |tid| Thread {
        tid,
        name: None,
        state: None,
        wchan: None,
        syscall: None,
        cpu_ticks: None,
        timeslices: None,
        afterwards: None,
        capture: ThreadCapture::Absent,
    };
    vec![
        Reply::Saved(Saved {
            taken: 1_769_864_400,
            host: "desk".to_owned(),
            pid: Pid::new(4711),
            inner_pid: 4711,
            start_time: None,
            agent_version: None,
            rtops_version: "0.1.0".to_owned(),
        }),
        Reply::Core(CoreHead {
            program: "gate\x1b[2Jway".to_owned(),
            arguments: "gateway --listen 80".to_owned(),
            pid: Some(4711),
            was_alive: false,
            has_tokio: true,
            signal: Some(Signal {
                number: 11,
                code: Some(1),
                address: Some(0),
                access: Some(Access::Write),
                sender: None,
            }),
            thread: Some(4712),
            time: Some(1_769_860_800),
            host: Some("web-1".to_owned()),
        }),
        Reply::Untracked(vec![
            untracked(UntrackedState::Idle),
            untracked(UntrackedState::Completed),
        ]),
        Reply::Threads(vec![thread(4711), thread(4712)]),
        Reply::End(End { gaps: Vec::new() }),
    ]
}

/// Runs `rtops COMMAND --from` on a file of these frames.
fn show(directory: &Path, arguments: &[&str]) -> Output {
    let path = directory.join("core.rtops");
    let mut file = File::create(&path).unwrap();
    let mut replies = dump().into_iter();
    replies.try_for_each(|reply| reply.send(&mut file)).unwrap();
    let path = path.to_str().unwrap();
    let output = rtops(directory, &[arguments, &["--from", path]].concat());
    assert_code(&output, 0);
    output
}

#[test]
fn the_text_begins_with_what_ended_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let output = show(directory.path(), &["stack", "--each"]);
    let text = stdout(&output);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "gate\\u{1b}[2Jway (pid 4711) was killed by SIGSEGV (null write at 0x0), in thread 4712, \
             2026-01-31T12:00:00Z on web-1"
        )
    );
    assert_eq!(
        lines.next(),
        Some("1 task; 1 only by type: 1 at an unknown instruction; 2 threads")
    );
    assert!(
        text.contains("\ntokio #2 task at 0x7f0000000080 0x1234 [waiting]\n"),
        "{text}"
    );
    assert!(
        text.contains("1 ended task is kept by its join handle: 1 x 0x1234"),
        "{text}"
    );
    let threads = text.lines().filter(|line| line.starts_with("thread "));
    let threads: Vec<&str> = threads.collect();
    assert_eq!(threads, ["thread 4712 [killed by SIGSEGV]", "thread 4711"]);
    for text in [text, stderr(&output)] {
        assert!(!text.contains("agent") && !text.contains("copy"), "{text}");
    }
    let leaks = stdout(&show(directory.path(), &["leaks"]));
    assert!(leaks.contains("was killed by SIGSEGV"), "{leaks}");
}

#[test]
fn the_document_has_what_ended_the_process_and_null_for_what_no_core_file_tells() {
    let directory = tempfile::tempdir().unwrap();
    let output = show(directory.path(), &["stack", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["process"]["agent_version"], Value::Null);
    let core = &document["core"];
    assert!(
        core["summary"].as_str().unwrap().ends_with("Z on web-1"),
        "{core}"
    );
    for (field, expected) in [
        ("pid", json!(4711)),
        ("tid", json!(4712)),
        ("arguments", json!("gateway --listen 80")),
        ("time", json!("2026-01-31T12:00:00Z")),
        ("host", json!("web-1")),
    ] {
        assert_eq!(core[field], expected);
    }
    let signal = json!({
        "number": 11, "name": "SIGSEGV", "code": 1, "address": "0x0", "access": "write",
        "sender_pid": null, "sender_uid": null,
    });
    assert_eq!(core["signal"], signal);
    let tasks = &document["tasks"];
    assert_eq!(
        tasks["kept"],
        json!([{ "future_type": "0x1234", "count": 1 }])
    );
    for unknown in ["tracked_on_tokio", "alive_on_tokio"] {
        assert_eq!(tasks[unknown], Value::Null);
    }
    let task = &tasks["groups"][0]["tasks"][0];
    assert_eq!(
        (&task["tokio_id"], &task["tokio"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(task["cell"], "0x7f0000000080");
    let group = &document["threads"]["groups"][0];
    assert_eq!(
        (&group["crashed"], &group["state"]),
        (&json!(true), &Value::Null)
    );
    let thread = &group["threads"][0];
    assert_eq!(thread["tid"], 4712);
    for unknown in ["name", "wchan", "cpu_ticks"] {
        assert_eq!(thread[unknown], Value::Null);
    }
}
