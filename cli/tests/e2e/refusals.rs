//! Where a copy of the process would do harm, or can't be made harmless, none is made, and the user
//! is told why.

use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
    time::Instant,
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::support::{Build, DEADLINE, Target};

fn start(kind: &str) -> Target {
    Target::start(Build::Dev, &["uncopied", kind])
}

/// The sentence, exit code 6, and neither tasks nor a claim that there are none.
#[track_caller]
fn expect_refusal(target: &Target, why: &str) {
    let pid = target.pid.to_string();
    let run = target.rtops(&["stack", &pid, "--tasks", "--timeout=60s"]);
    assert_eq!(run.code, Some(6), "{run}");
    assert!(run.stdout.contains(why), "{run}");
    assert!(run.stderr.contains(why), "{run}");
    assert!(run.stdout.contains("0 tracked tasks"), "{run}");
}

#[track_caller]
fn expect_copy(target: &Target) {
    let stack = target.stack(&["--tasks"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    assert_eq!(stack.tasks().count(), 1, "{:#?}", stack.task_groups());
}

#[test]
fn of_a_process_that_locked_its_memory() {
    expect_refusal(&start("locked"), "has locked its memory (mlock)");
}

#[test]
fn of_a_process_that_may_not_filter_system_calls() {
    expect_refusal(&start("confined"), "the copy can't be made harmless here");
}

#[test]
fn of_a_process_with_a_tracer() {
    let target = start("free");
    let pid = Pid::from_raw(target.pid);
    ptrace::seize(pid, ptrace::Options::empty()).unwrap();
    expect_refusal(&target, "a debugger or tracer is attached");
    // Only a thread that is stopped can be let go.
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(pid, None).unwrap();
    expect_copy(&target);
}

#[test]
fn of_a_process_whose_cgroup_is_nearly_full() {
    let Some(cgroup) = Cgroup::make() else {
        // As in a container. What is read of cgroups has tests in rtops-snapshot.
        eprintln!("no cgroup with a memory limit can be made here");
        return;
    };
    let target = start("free");
    cgroup.adopt(&target);
    cgroup.limit(12 << 20);
    expect_refusal(&target, "MiB of memory left");
    cgroup.limit(1 << 30);
    expect_copy(&target);
}

/// A cgroup with a limit of memory, removed when this is dropped.
struct Cgroup {
    directory: PathBuf,
    limit: &'static str,
}

impl Cgroup {
    /// Of the first or the second version, whichever rules the memory here.
    fn make() -> Option<Self> {
        let name = format!("rtops-test-{}", process::id());
        let versions = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
        versions.into_iter().find_map(|(mount, limit)| {
            let directory = Path::new("/sys/fs/cgroup").join(mount).join(&name);
            fs::create_dir(&directory).ok()?;
            let this = Self { directory, limit };
            this.directory.join(limit).exists().then_some(this)
        })
    }

    fn adopt(&self, target: &Target) {
        let pid = target.pid.to_string();
        fs::write(self.directory.join("cgroup.procs"), pid).unwrap();
    }

    fn limit(&self, bytes: u64) {
        fs::write(self.directory.join(self.limit), bytes.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process in it may need a moment to be gone.
        let end = Instant::now() + DEADLINE;
        while fs::remove_dir(&self.directory).is_err() && Instant::now() < end {
            thread::yield_now();
        }
    }
}
