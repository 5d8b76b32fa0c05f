//! What is reported about the cgroup of a process, and what happens if memory is short or locked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use serde_json::Value;

use crate::{
    cgroup::Cgroup,
    support::{Build, Target},
};

/// A cgroup with room for this many threads, if the user may make one here.
struct CgroupOfOne(PathBuf);

impl CgroupOfOne {
    fn new(name: &str, threads: usize) -> Option<Self> {
        let parents = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        parents.into_iter().find_map(|parent| {
            let directory = Path::new(parent).join(name);
            fs::create_dir(&directory).ok()?;
            let group = Self(directory);
            let limited = fs::write(group.0.join("pids.max"), threads.to_string());
            limited.ok().map(|()| group)
        })
    }

    fn add(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for CgroupOfOne {
    fn drop(&mut self) {
        // The processes in it have ended by now, or the test has failed.
        fs::remove_dir(&self.0).ok();
    }
}

#[test]
fn the_group_of_a_container_is_told_with_its_limits() {
    let id = format!("{:064x}", std::process::id());
    let Some(group) = CgroupOfOne::new(&format!("docker-{id}.scope"), 3) else {
        eprintln!("skipped: no cgroup can be made here");
        return;
    };
    let target = Target::start(Build::Dev, &["sockets"]);
    group.add(target.pid);
    let pid = target.pid.to_string();
    let run = target.rtops(&[&pid, "50ms", "--json"]).success();
    let info: Value = run.json();
    assert_eq!(info["process"]["container"]["runtime"], "docker");
    assert_eq!(info["process"]["container"]["id"], *id);
    let mut limits = info["limits"].as_array().unwrap().iter();
    let threads = limits.find(|limit| limit["what"] == "threads of the group");
    let threads = threads.unwrap();
    assert_eq!(threads["limit"], 3);
    assert_eq!(
        threads["used"].as_f64(),
        info["process"]["threads"].as_f64()
    );
    assert_eq!(threads["near"], threads["used"] == 3);
    let text = target.rtops(&["info", &pid, "50ms"]).success().stdout;
    let container = format!("docker container {}", &id[..12]);
    assert!(text.contains(&container), "{text}");
    drop(target);
}

#[test]
fn of_a_process_whose_cgroup_is_nearly_full() {
    let Some(cgroup) = Cgroup::make("refusals") else {
        eprintln!("skipped: no cgroup with a limit of memory can be made here");
        return;
    };
    let target = Target::start(Build::Dev, &["uncopied", "free"]);
    cgroup.adopt(target.pid);
    cgroup.limit(12 << 20);
    let said = read_standing(&target).unwrap();
    assert!(said.contains("MiB of memory are left"), "{said}");
    cgroup.limit(1 << 30);
    assert_eq!(read_standing(&target), None);
}

/// Returns why the only task was not read in a copy.
fn read_standing(target: &Target) -> Option<String> {
    let stack = target.stack(&["--tasks", "--max-pause=2s"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    assert_eq!(stack.tasks().count(), 1, "{:#?}", stack.task_groups());
    stack.outside.unwrap().read_standing
}

#[test]
fn of_a_process_that_locked_its_memory() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can lock all of its memory");
        return;
    }
    let target = Target::start(Build::Dev, &["uncopied", "locked"]);
    let why = "it has locked its memory (mlock)";
    let pid = target.pid.to_string();
    let run = target.rtops(&["stack", &pid, "--tasks", "--max-pause=1ms"]);
    let run = run.exits(6);
    assert!(
        run.stdout.contains(why) && run.stderr.contains(why),
        "{run}"
    );
    let said = read_standing(&target).unwrap();
    assert!(said.contains(why), "{said}");
}
