//! Processes in other namespaces, seen from outside.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    process::Command,
    sync::Arc,
};

use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    look::look,
    processes::record,
    reply::Stack,
    source::Marks,
    support::{Build, Target, copy_program, eventually, rtops},
    users::NOBODY,
};

/// Gives the target its own /tmp, with the program in it.
const CONTAIN: &str = "mount -t tmpfs tmpfs /mnt && cp \"$0\" /mnt/targets \
    && mount --move /mnt /tmp && exec /tmp/targets \"$@\"";

#[test]
fn a_process_in_other_namespaces_is_found_by_its_outer_pid() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make namespaces here");
        return;
    }
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            CONTAIN,
        ])
        .arg(Build::Dev.path())
        .args(["herd", "3"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let target = Target::spawn(command, Arc::new(tempdir().unwrap()));
    let inner = target.ready();
    let outer = only_child_of(target.pid);
    assert_ne!(inner, outer);
    let run = rtops(None, &["list", "--json"]).success();
    let list: Value = run.json();
    let process = record(&list, outer);
    let process = process.unwrap_or_else(|| panic!("{outer} is not in {list:#}"));
    assert_eq!(process["tracked_tasks"], 3);
    let run = rtops(None, &["info", &outer.to_string(), "--json"]).success();
    let info: Value = run.json();
    assert_eq!(info["process"]["inner_pid"], inner, "{run}");
    let run = rtops(None, &["stack", &outer.to_string(), "--tasks", "--json"]).success();
    let stack: Stack = run.json();
    stack.group("waits").expect_lines(Marks::read().of("waits"));
}

#[test]
fn root_outside_of_a_user_namespace_looks_past_an_agent_that_does_not_know_it() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can become another user here");
        return;
    }
    let directory = Arc::new(tempdir().unwrap());
    let program = directory.path().join("service");
    copy_program(Build::Dev.path(), &program);
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--fork", "--kill-child"])
        .arg(&program)
        .args(["herd", "3"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RTOPS_DIR", directory.path());
    if !Command::new("unshare")
        .arg("--user")
        .uid(NOBODY)
        .arg("true")
        .status()
        .unwrap()
        .success()
    {
        eprintln!("skipped: no user namespace can be made here");
        return;
    }
    let target = Target::spawn(command, directory);
    let pid = target.ready().to_string();
    let run = target.rtops(&["stack", &pid, "--tasks"]).exits(6);
    assert!(run.stdout.contains(": 3 tasks in 3 groups"), "{run}");
    assert!(
        run.stderr
            .contains("the agent tells nothing: only the user"),
        "{run}"
    );
}

pub fn only_child_of(pid: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

#[test]
fn the_sockets_of_another_network_are_read_there() {
    let mut arguments = vec!["--net"];
    if !geteuid().is_root() {
        arguments.extend(["--user", "--map-root-user"]);
    }
    let directory = Arc::new(tempdir().unwrap());
    let mut command = Command::new("unshare");
    command
        .args(arguments)
        .arg(Build::Dev.path())
        .arg("sockets")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RTOPS_DIR", directory.path());
    let target = Target::spawn(command, directory);
    target.ready();
    let listener = target.command("tcp 0.0.0.0:0");
    let pid = target.pid.to_string();
    let run = target.rtops(&[&pid, "50ms", "--json"]).success();
    let info: Value = run.json();
    let sockets = info["sockets"]["list"].as_array().unwrap().iter();
    let listening = sockets.filter(|one| one["protocol"] == "tcp" && one["state"] == "listen");
    let listening: Vec<&Value> = listening.map(|socket| &socket["local"]).collect();
    assert_eq!(listening, [&Value::from(listener)], "{info:#}");
    let others = info["process"]["other_namespaces"].as_array().unwrap();
    assert!(others.iter().any(|kind| kind == "net"), "{info:#}");
    let text = target.rtops(&["info", &pid, "50ms"]).success().stdout;
    assert!(
        text.contains("net: not those of rtops") || text.contains("net, user: not"),
        "{text}"
    );
}

/// A shell waits only for its own children.
#[test]
fn a_shell_that_is_the_first_process_of_its_namespace_is_left_no_child() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make namespaces here");
        return;
    }
    let mut unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(["sh", "-c", "sleep 1000; true"])
        .spawn()
        .unwrap();
    let children = |pid: i32| -> Vec<i32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    };
    let outer = unshare.id().try_into().unwrap();
    let mut shell = 0;
    eventually("the shell waits for its command", || {
        shell = children(outer).first().copied().unwrap_or_default();
        children(shell).len() == 1
    });
    let command = children(shell);
    for _ in 0..5 {
        look(&["stack"], shell, &["--threads"]).success();
        eventually("no other child is left", || children(shell) == command);
    }
    unshare.kill().unwrap();
    unshare.wait().unwrap();
}
