//! Where a copy of the process would do harm, or can't be made harmless, none is made, and the user
//! is told why.

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::{
    cgroup::Cgroup,
    support::{Build, Target},
};

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
    let Some(cgroup) = Cgroup::make("refusals") else {
        // As in a container. What is read of cgroups has tests in rtops-snapshot.
        eprintln!("no cgroup with a memory limit can be made here");
        return;
    };
    let target = start("free");
    cgroup.adopt(target.pid);
    cgroup.limit(12 << 20);
    expect_refusal(&target, "MiB of memory left");
    cgroup.limit(1 << 30);
    expect_copy(&target);
}
