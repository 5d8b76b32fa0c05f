//! A target in a container, seen from outside.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    process::Command,
    sync::Arc,
};

use nix::unistd::geteuid;
use tempfile::tempdir;

use crate::{
    list::List,
    safety::NOBODY,
    source::Marks,
    support::{Build, Target, copy_program, rtops},
};

/// Gives the target a /tmp of its own, and puts it there.
const CONTAIN: &str = "mount -t tmpfs tmpfs /mnt && cp \"$0\" /mnt/rtops-targets \
    && mount --move /mnt /tmp && exec /tmp/rtops-targets \"$@\"";

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
    let list = List::read(None);
    let process = list
        .process(outer)
        .unwrap_or_else(|| panic!("{outer} is not in {list:?}"));
    assert_eq!(process.tracked_tasks, Some(3));
    let run = rtops(None, &["info", &outer.to_string(), "--json"]).success();
    let info: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(info["process"]["inner_pid"], inner, "{run}");
    let run = rtops(None, &["stack", &outer.to_string(), "--tasks", "--json"]).success();
    let stack: crate::reply::Stack = serde_json::from_str(&run.stdout).unwrap();
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
