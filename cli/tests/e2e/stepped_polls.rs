//! Polls that misbehave while they are stepped, and processes that must not be stepped: none is harmed.

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::{
    source::Marks,
    support::{Build, Target, eventually},
};

#[test]
fn polls_that_do_much_in_a_dev_build_go_on() {
    expect_no_harm(Build::Dev);
}

#[test]
fn polls_that_do_much_in_a_release_build_go_on() {
    expect_no_harm(Build::Release);
}

fn expect_no_harm(build: Build) {
    let marks = Marks::read();
    let target = Target::start(build, &["bad-polls", "passing"]);
    for round in 0..5 {
        let names = ["spins", "spawns", "writes", "masks"];
        // On a busy machine a worker may come to a task too late for one dump.
        let mut stack = target.stack(&[]);
        eventually("all are polled when asked", || {
            let is_polled = |name: &&str| stack.group(name).tasks[0].obtained == "stepped";
            let are_polled = names.iter().all(is_polled);
            if !are_polled {
                stack = target.stack(&[]);
            }
            are_polled
        });
        assert!(stack.complete, "{:?}", stack.gaps);
        for name in names {
            let group = stack.group(name);
            assert_eq!((&*group.state, group.tasks[0].wakers), ("never", Some(0)));
            let is_cut = |group: &crate::reply::TaskGroup| {
                group.stacks.iter().any(|chain| chain.incomplete.is_some())
            };
            // A thread, a process and a signal mask end the stepping, a pipe does not.
            if name != "writes" {
                assert!(is_cut(group), "{group:#?}");
            }
        }
        // It panics in its first stepped poll: its task alone ends.
        assert!(round == 0 || stack.groups("panics").is_empty());
        stack.group("beside").expect_lines(marks.of("beside"));
        target.expect_progress();
    }
}

#[test]
fn a_poll_that_never_ends_keeps_its_thread_alone() {
    let marks = Marks::read();
    let target = Target::start(Build::Dev, &["bad-polls", "endless"]);
    target.stack(&["--tasks"]);
    target.expect_progress();
    // It goes on at full speed, and others can be stepped.
    let stack = target.stack(&["--tasks"]);
    let endless = stack.group("endless");
    assert_eq!(endless.state, "running", "{endless:#?}");
    let beside = stack.group("beside");
    assert_eq!(beside.tasks[0].obtained, "stepped", "{beside:#?}");
    beside.expect_lines(marks.of("beside"));
    target.expect_progress();
}

#[test]
fn threads_that_block_the_signal_are_left_alone() {
    let target = Target::start(Build::Dev, &["bad-polls", "blocked"]);
    for _ in 0..2 {
        let stack = target.stack(&["--tasks"]);
        assert!(stack.complete, "{:?}", stack.gaps);
        let beside = stack.group("beside");
        assert_eq!((&*beside.state, beside.stacks.len()), ("never", 0));
        let remark = beside.remark.as_deref().unwrap_or_default();
        assert!(remark.contains("blocks SIGTRAP"), "{beside:#?}");
        target.expect_progress();
    }
    let text = target.stack_text(&["--tasks"]);
    assert!(text.contains("blocks SIGTRAP"), "{text}");
}

#[test]
fn a_process_that_is_traced_is_not_stepped() {
    let marks = Marks::read();
    let target = Target::start(Build::Dev, &["wakerless"]);
    let pid = Pid::from_raw(target.pid);
    ptrace::seize(pid, ptrace::Options::empty()).unwrap();
    let stack = target.stack(&["--tasks"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    let deep = stack.group("deep");
    assert_eq!((&*deep.state, deep.stacks.len()), ("never", 0));
    let remark = deep.remark.as_deref().unwrap_or_default();
    assert!(remark.contains("a debugger is attached"), "{deep:#?}");
    // Only a thread that is stopped can be let go.
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(pid, None).unwrap();
    target
        .stack(&["--tasks"])
        .group("deep")
        .expect_lines(marks.of("deep"));
}

#[test]
fn a_service_may_switch_it_off() {
    let target = Target::start(Build::Dev, &["unstepped"]);
    let stack = target.stack(&["--tasks", "--deep"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    let beside = stack.group("beside");
    assert_eq!((&*beside.state, beside.stacks.len()), ("never", 0));
    assert_eq!(beside.tasks[0].obtained, "probed");
}
