//! Processes that make the files in `/proc` that `rtops` reads about them very long.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    process::Command,
    sync::Arc,
};

use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    support::{Build, Run, Target, copy_program},
    users::NOBODY,
};

/// How many bytes of a command line are read.
const LIMIT: usize = 64 << 10;

/// Starts a process, of another user if possible, whose command line has this many MiB.
fn start(size: &str) -> Target {
    start_in(Arc::new(tempdir().unwrap()), size)
}

fn start_in(directory: Arc<TempDir>, size: &str) -> Target {
    let program = directory.path().join("endless");
    if !program.exists() {
        copy_program(Build::Dev.path(), &program);
    }
    let mut command = Command::new(program);
    command
        .args(["endless", size])
        .env_clear()
        .env("RTOPS_DIR", directory.path())
        .current_dir("/");
    if geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    } else {
        eprintln!("as this user: only root can become another one");
    }
    let target = Target::spawn(command, directory);
    target.ready();
    target
}

/// Returns the command line of a process according to a document.
fn command_in(run: Run, pid: i32) -> String {
    let run = run.success();
    let document: Value = run.json();
    let listed = document["processes"].as_array().into_iter().flatten();
    let mut processes = document.get("process").into_iter().chain(listed);
    let process = processes.find(|process| process["pid"] == pid).unwrap();
    process["command"].as_str().unwrap().to_owned()
}

#[test]
fn an_endless_command_line_is_cut_and_says_so() {
    let target = start("1024");
    let pid = target.pid.to_string();
    let expected = format!("{}…", "A".repeat(LIMIT));
    for arguments in [
        &["list", "--json"][..],
        &["list", "--all", "--json"],
        &["info", &pid, "50ms", "--json"],
        &["memstats", &pid, "--json"],
    ] {
        let command = command_in(target.rtops(arguments), target.pid);
        let shown = (command.len(), command == expected);
        assert_eq!(shown, (expected.len(), true), "{arguments:?}");
    }
    for arguments in [
        &["list"][..],
        &["tree", &pid],
        &["info", &pid, "50ms"],
        &["info", "endl", "50ms"],
    ] {
        let shown = target.rtops(arguments).success().stdout;
        assert!(
            shown.contains(&pid) || shown.contains("endless"),
            "{arguments:?}"
        );
        assert!(shown.len() < 2 * LIMIT, "{arguments:?}");
    }
    let mut completion = Command::new(env!("CARGO_BIN_EXE_rtops"));
    completion
        .args(["--", "rtops", "stack", ""])
        .env("RTOPS_COMPLETE", "fish")
        .env("RTOPS_DIR", target.directory());
    let offered = Run::of(completion).success().stdout;
    let line = format!("{pid}\t{}…", "A".repeat(60));
    assert!(offered.lines().any(|offered| offered == line), "{offered}");
}

#[test]
fn a_name_that_several_have_is_listed_with_the_beginnings_of_endless_command_lines() {
    let sockets = Arc::new(tempdir().unwrap());
    let first = start_in(Arc::clone(&sockets), "64");
    let second = start_in(sockets, "64");
    let run = first.rtops(&["stack", "endless"]).exits(2);
    for target in [&first, &second] {
        assert!(run.stderr.contains(&target.pid.to_string()), "{run}");
    }
    assert!(run.stderr.len() < LIMIT, "{}", run.stderr.len());
}

#[test]
fn a_process_of_very_many_groups_is_seen_whole() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root has so many groups");
        return;
    }
    let target = Target::start(Build::Dev, &["endless", "1"]);
    let pid = target.pid.to_string();
    let status = fs::read(format!("/proc/{pid}/status")).unwrap();
    assert!(status.len() > 500_000, "{}", status.len());
    let run = target.rtops(&["info", &pid, "50ms", "--json"]).success();
    let info: Value = run.json();
    // These fields come after the groups in the file.
    assert_eq!(info["process"]["pid"], target.pid, "{run}");
    assert!(
        info["process"]["peak_rss_bytes"].as_u64() > Some(0),
        "{run}"
    );
    let list = target.rtops(&["list", "--json"]).success();
    assert!(list.stdout.contains(&pid), "{list}");
}
