//! Processes that are selected by name.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{Build, Target, copy_program, eventually, rtops};

/// Starts targets whose executables have these names, with one socket directory.
fn targets(names: &[&str]) -> (TempDir, Vec<Target>) {
    let programs = tempdir().unwrap();
    let sockets = Arc::new(tempdir().unwrap());
    let start = |name: &&str| {
        let program = programs.path().join(name);
        copy_program(Build::Dev.path(), &program);
        Target::start_in(Arc::clone(&sockets), &program, &["herd", "3"])
    };
    let targets = names.iter().map(start).collect();
    (programs, targets)
}

/// Returns the process that `rtops stack` selects for this text.
fn stacked(asker: &Target, text: &str) -> i32 {
    let arguments = ["stack", text, "--tasks", "--json", "--attach=never"];
    let run = asker.rtops(&arguments).success();
    let document: serde_json::Value = run.json();
    let pid = document["process"]["pid"].as_i64();
    pid.and_then(|pid| i32::try_from(pid).ok()).unwrap()
}

#[test]
fn a_name_is_whole_or_a_unique_beginning() {
    let (_programs, targets) = targets(&["gateway", "gateway-canary", "worker"]);
    let [gateway, canary, worker] = &targets[..] else {
        panic!("three targets");
    };
    for (text, meant) in [
        ("gateway", gateway),
        ("gateway-", canary),
        ("wor", worker),
        (&*worker.pid.to_string(), worker),
    ] {
        assert_eq!(stacked(gateway, text), meant.pid, "{text}");
    }
    for text in ["Gateway", "gateway-canary-2", "atewa"] {
        let run = gateway.rtops(&["stack", text]).exits(3);
        assert!(run.stderr.contains(text), "{run}");
    }
}

#[test]
fn an_ambiguous_beginning_lists_its_processes() {
    let (_programs, targets) = targets(&["gateway", "gateway-canary", "worker"]);
    let [gateway, canary, worker] = &targets[..] else {
        panic!("three targets");
    };
    let run = gateway.rtops(&["stats", "gate"]).exits(2);
    assert_eq!(run.stdout, "");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = run.stderr.lines().map(words).collect();
    let listed = |target: &Target, name| format!("{} {name} {}", target.pid, program(target));
    for line in [
        "rtops: the names of 2 processes begin with gate; give one of these PIDs:".to_owned(),
        listed(gateway, "gateway"),
        listed(canary, "gateway-canary"),
    ] {
        assert!(lines.contains(&line), "{line}: {run}");
    }
    assert!(!run.stderr.contains(&worker.pid.to_string()), "{run}");
}

fn program(target: &Target) -> String {
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", target.pid)).unwrap();
    arguments.trim_end_matches('\0').replace('\0', " ")
}

#[test]
fn a_process_without_an_agent_is_no_candidate_for_a_command_that_asks_one() {
    let (programs, targets) = targets(&["gateway"]);
    let [gateway] = &targets[..] else {
        panic!("one target");
    };
    // Its name has the same prefix, but it has no agent to ask.
    let other = programs.path().join("gateway-cat");
    copy_program(Path::new("/bin/cat"), &other);
    let mut other = Command::new(other).stdin(Stdio::piped()).spawn().unwrap();
    let meant = stacked(gateway, "gate");
    let run = gateway.rtops(&["trim", "gateway-cat"]);
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(meant, gateway.pid);
    let run = run.exits(4);
    assert!(run.stderr.contains("gateway-cat"), "{run}");
}

#[test]
fn the_only_agent_need_not_be_named() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let watch = ["stats", "--watch", "100ms", "--count=1", "--json"];
    let run = target.rtops(&watch).success();
    let look: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(look["pid"], target.pid, "{run}");

    let other = target.start_beside(Build::Dev, &["herd", "1"]);
    for arguments in [&watch[..], &["stack"], &["leaks"], &["stats"]] {
        let run = target.rtops(arguments).exits(2);
        assert_eq!(run.stdout, "", "{run}");
        let said = " processes have an agent or run tokio; give one of these PIDs:\n";
        assert!(run.stderr.contains(said), "{run}");
        // Other processes of this machine may match as well, and have lower PIDs.
        if arguments == watch {
            for pid in [target.pid, other.pid] {
                assert!(run.stderr.contains(&format!("\n  {pid}  targets")), "{run}");
            }
        }
    }
    let nowhere = tempdir().unwrap();
    let run = rtops(Some(nowhere.path()), &watch).exits(3);
    assert!(run.stderr.contains("has an rtops agent"), "{run}");
}

#[test]
fn an_agent_in_another_directory_is_found() {
    let (_programs, started) = targets(&["service-elsewhere"]);
    let nowhere = tempdir().unwrap();
    let pid = started[0].pid.to_string();
    for arguments in [
        &["memstats", "service-elsewhere"][..],
        &["memstats", &pid],
        &["stack", "service-elsewhere", "--attach=never"],
    ] {
        let run = rtops(Some(nowhere.path()), arguments).success();
        assert!(run.stdout.contains(&pid), "{run}");
    }
}

#[test]
fn a_process_that_has_ended_is_no_candidate() {
    let programs = tempdir().unwrap();
    let program = programs.path().join("service-that-ended");
    copy_program(Path::new("/bin/true"), &program);
    let mut child = Command::new(&program).spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    eventually("it has ended, and nobody has waited for it", || {
        fs::read_to_string(&stat).unwrap().contains(") Z ")
    });
    for command in ["stack", "info", "stats"] {
        let run = rtops(Some(programs.path()), &[command, "service-that-ended"]).exits(3);
        assert!(run.stderr.contains("no process is named"), "{run}");
    }
    child.wait().unwrap();
}
