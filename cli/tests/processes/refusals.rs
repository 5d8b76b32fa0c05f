//! If a process with an agent can't be looked at from outside or copied,
//! the user is told why, and sees the rest.

use std::process::Command;

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use procfs::process::Process;

use crate::support::{Build, Target, eventually, rtops};

fn start(kind: &str) -> Target {
    Target::start(Build::Dev, &["uncopied", kind])
}

/// Expects the sentence, exit code 6, and neither tasks nor a claim that there are none.
#[track_caller]
fn expect_refusal(target: &Target, why: &str) {
    let pid = target.pid.to_string();
    let run = target.rtops(&["stack", &pid, "--tasks", "--timeout=60s"]);
    assert_eq!(run.code, Some(6), "{run}");
    assert!(run.stdout.contains(why), "{run}");
    assert!(run.stderr.contains(why), "{run}");
    assert!(run.stdout.contains("0 tracked tasks"), "{run}");
}

/// Expects the unwrapped task, which is found in a copy.
#[track_caller]
fn expect_task(target: &Target) {
    let stack = target.stack(&["--tasks", "--max-pause=2s"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    assert_eq!(stack.tasks().count(), 1, "{:#?}", stack.task_groups());
    let outside = stack.outside.unwrap();
    assert_eq!(outside.read_standing, None);
    assert!(outside.copy_ms.is_some());
}

#[test]
fn of_a_zombie_it_is_said_that_it_is_one() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    eventually("it has ended", || {
        let stat = Process::new(pid.parse().unwrap()).unwrap().stat();
        stat.unwrap().state == 'Z'
    });
    for command in ["stack", "stats", "leaks", "memstats", "version", "trim"] {
        let run = rtops(None, &[command, &pid]).exits(3);
        let said = format!("process {pid} (true) has ended");
        assert!(run.stderr.contains(&said), "{run}");
    }
    let run = rtops(None, &["info", &pid]).success();
    assert!(run.stdout.contains("state      ended"), "{run}");
    child.wait().unwrap();
}

#[test]
fn of_a_process_with_a_tracer() {
    let target = start("free");
    let pid = Pid::from_raw(target.pid);
    ptrace::seize(pid, ptrace::Options::empty()).unwrap();
    expect_refusal(
        &target,
        "traces it already: end that debugger or tracer first",
    );
    // Only a stopped thread can be detached from.
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(pid, None).unwrap();
    expect_task(&target);
}

#[test]
fn where_nothing_else_is_wanted_it_is_an_error() {
    let target = start("free");
    let pid = target.pid.to_string();
    let stack = ["stack", &pid, "--attach=always", "--max-pause=1ms"];
    let run = target.rtops(&stack);
    assert_eq!(run.code, Some(1), "{run}");
    assert!(
        run.stderr.contains("--max-pause") && run.stdout.is_empty(),
        "{run}"
    );
}
