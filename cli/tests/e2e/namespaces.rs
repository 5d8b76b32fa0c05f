//! A target in a container, seen from outside.

use std::{fs, process::Command, sync::Arc};

use nix::unistd::geteuid;
use tempfile::tempdir;

use crate::{
    list::List,
    source::Marks,
    support::{Build, Target, rtops},
};

/// Gives the target a /tmp of its own, and puts it there.
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

pub fn only_child_of(pid: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}
