//! Tests what is not frozen or not copied, and the messages.

use std::{os::unix::process::CommandExt as _, process::Command, time::Duration};

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd,
};
use rtops_attach::{How, Injection, NoCopy, Options, Pid, Refusal, Threads, Tid, freeze};

use crate::{
    Test,
    harm::options,
    modes,
    process::{Target, is_root, status, wait_until, wait_until_free, wait_until_no_copy},
};

pub const TESTS: &[Test] = &[
    ("what_is_no_process_is_refused", no_process),
    ("a_stopped_process_is_refused", stopped),
    ("a_traced_process_is_refused", traced),
    ("a_thread_is_refused", thread),
    ("what_would_take_too_long_is_refused", too_long),
    ("a_filter_that_denies_clone_is_obeyed", filters_that_deny),
    (
        "a_filter_that_allows_clone_is_no_obstacle",
        filter_that_allows,
    ),
    ("a_filter_that_cant_be_read_forbids_a_copy", filter_unread),
    ("a_program_that_is_no_helper_is_an_error", no_helper),
];

/// These tests need processes of other users, or locked memory.
pub const AS_ROOT: &[Test] = &[
    ("locked_memory_is_read_while_the_process_stands", locked),
    (
        "a_large_process_that_cant_be_copied_is_refused",
        large_and_locked,
    ),
    ("another_users_process_is_refused", other_user),
    ("the_own_users_process_is_frozen", own_user),
    ("a_process_that_may_not_fork_is_read_standing", no_fork),
];

fn refusal(pid: i32, options: &Options) -> Refusal {
    match freeze(Pid::new(pid), options) {
        Ok(frozen) => panic!("{:?}", frozen.how),
        Err(refusal) => {
            println!("{refusal}");
            refusal
        }
    }
}

fn no_process() {
    for pid in [0, -7, i32::MAX] {
        assert_eq!(
            refusal(pid, &Options::default()),
            Refusal::NoProcess(Pid::new(pid))
        );
    }
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().cast_signed();
    wait_until("it has ended", || {
        status(pid, "State").is_some_and(|state| state.starts_with('Z'))
    });
    assert_eq!(refusal(pid, &Options::default()), Refusal::Ended);
    child.wait().unwrap();
    // Kernel threads are children of process 2, if that is visible.
    if status(2, "Name").is_some_and(|name| name == "kthreadd") {
        assert_eq!(refusal(2, &Options::default()), Refusal::Kernel);
    }
}

fn stopped() {
    let target = Target::start("plain", &[]);
    let pid = unistd::Pid::from_raw(target.pid);
    kill(pid, Signal::SIGSTOP).unwrap();
    wait_until("it is stopped", || {
        status(target.pid, "State").unwrap().starts_with('T')
    });
    assert_eq!(refusal(target.pid, &Options::default()), Refusal::Stopped);
    assert!(status(target.pid, "State").unwrap().starts_with('T'));
    kill(pid, Signal::SIGCONT).unwrap();
}

fn traced() {
    let own = std::process::id().cast_signed();
    let target = Target::start("plain", &[]);
    let threads = crate::process::threads(target.pid);
    // The main thread, and then a single other thread.
    for tid in [target.pid, *threads.last().unwrap()] {
        let tid = unistd::Pid::from_raw(tid);
        ptrace::seize(tid, ptrace::Options::empty()).unwrap();
        assert_eq!(
            refusal(target.pid, &Options::default()),
            Refusal::Traced(Pid::new(own))
        );
        ptrace::interrupt(tid).unwrap();
        waitpid(tid, Some(WaitPidFlag::__WALL)).unwrap();
        ptrace::detach(tid, None).unwrap();
    }
}

fn thread() {
    let target = Target::start("plain", &[]);
    let tid = *crate::process::threads(target.pid).last().unwrap();
    let pid = target.pid;
    assert_eq!(
        refusal(tid, &Options::default()),
        Refusal::IsThread {
            tid: Tid::new(tid),
            pid: Pid::new(pid)
        }
    );
}

fn too_long() {
    let target = Target::start("memory", &["100"]);
    let before = target.facts();
    let options = Options {
        max_pause: Duration::from_millis(1),
        ..Options::default()
    };
    assert!(matches!(
        refusal(target.pid, &options),
        Refusal::TooLong { .. }
    ));
    target.facts().assert_same(&before);
}

/// Returns a command that runs this program as another user.
fn as_nobody() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.uid(65534).gid(65534);
    command
}

/// Makes this program freeze a process as another user, and returns what it prints.
fn freeze_as_nobody(pid: i32) -> String {
    let mut freezer = Target::start_by(as_nobody(), "freezer", &[]);
    freezer.ask(&pid.to_string())
}

fn other_user() {
    if !is_root() {
        return;
    }
    let target = Target::start("plain", &[]);
    let before = target.facts();
    let said = freeze_as_nobody(target.pid);
    println!("{said}");
    assert!(said.contains("no permission"), "{said}");
    target.facts().assert_same(&before);
}

fn own_user() {
    if !is_root() {
        return;
    }
    let target = Target::start_by(as_nobody(), "plain", &[]);
    assert_eq!(freeze_as_nobody(target.pid), "Copied");
    assert_eq!(
        freeze(Pid::new(target.pid), &options(Threads::All))
            .unwrap()
            .how,
        How::Copied
    );
    wait_until_free(target.pid);
    wait_until_no_copy(&[target.pid]);
}

fn check_standing(target: &mut Target, options: &Options, why: NoCopy) {
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), options).unwrap();
    println!("pause {:?}, {} bytes", frozen.pause, frozen.copied_bytes);
    assert_eq!(frozen.how, How::ReadStanding(why));
    assert!(frozen.held.is_none());
    assert_eq!(frozen.parts.threads.len(), 4);
    modes::check_heap(&frozen, target);
    wait_until_free(target.pid);
    target.facts().assert_same(&before);
}

fn locked() {
    if !is_root() {
        return;
    }
    let mut target = Target::start("locked", &["0"]);
    for threads in [Threads::All, Threads::One] {
        check_standing(&mut target, &options(threads), NoCopy::MemoryLocked);
    }
}

fn large_and_locked() {
    if !is_root() {
        return;
    }
    let target = Target::start("locked", &["300"]);
    let before = target.facts();
    let refusal = refusal(target.pid, &Options::default());
    assert!(matches!(
        refusal,
        Refusal::CantCopy {
            why: NoCopy::MemoryLocked,
            ..
        }
    ));
    target.facts().assert_same(&before);
}

const CLONE: u32 = libc::SYS_clone as u32;

fn filters_that_deny() {
    for action in ["errno", "kill", "trap"] {
        let mut target = Target::start("filtered", &["clone", action]);
        // The filter is obeyed even if injection is requested.
        for injection in [Injection::Auto, Injection::Always] {
            let options = Options {
                injection,
                ..options(Threads::All)
            };
            check_standing(&mut target, &options, NoCopy::SeccompDenies(CLONE));
        }
        assert!(target.is_alive());
    }
}

fn filter_that_allows() {
    let mut target = Target::start("filtered", &["namespaces", "kill"]);
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    assert_eq!(frozen.how, How::Copied);
    modes::check_heap(&frozen, &mut target);
    wait_until_no_copy(&[target.pid]);
    target.facts().assert_same(&before);
}

/// A process under a filter may not read one.
fn filter_unread() {
    let mut target = Target::start("filtered", &["namespaces", "kill"]);
    let before = target.facts();
    let mut freezer = Target::start("filtered", &["namespaces", "kill"]);
    let said = freezer.ask(&format!("freeze auto {}", target.pid));
    assert_eq!(said, "ReadStanding(SeccompUnread)");
    let said = freezer.ask(&format!("freeze always {}", target.pid));
    assert_eq!(said, "Copied");
    wait_until_no_copy(&[target.pid, freezer.pid]);
    target.facts().assert_same(&before);
    assert_ne!(target.ask("sum"), "");
}

/// With some limits not even the go-between can be created, with others only the copy can't.
fn no_fork() {
    if !is_root() {
        return;
    }
    let mut target = Target::start_by(as_nobody(), "plain", &[]);
    let before = target.facts();
    let mut standing = 0;
    for limit in 1..12 {
        target.ask(&format!("limit {limit}"));
        let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
        match frozen.how {
            How::Copied => {}
            how => {
                assert_eq!(how, How::ReadStanding(NoCopy::Clone(libc::EAGAIN)));
                standing += 1;
            }
        }
        modes::check_heap(&frozen, &mut target);
        wait_until_free(target.pid);
        wait_until_no_copy(&[target.pid]);
        target.facts().assert_same(&before);
    }
    println!("{standing} of 11 standing");
    assert!((1..11).contains(&standing));
}

fn no_helper() {
    let target = Target::start("plain", &[]);
    let before = target.facts();
    for helper in ["/bin/true", "/nothing"] {
        let options = Options {
            helper: helper.into(),
            ..Options::default()
        };
        assert!(matches!(
            refusal(target.pid, &options),
            Refusal::System { .. } | Refusal::HelperKilled
        ));
    }
    target.facts().assert_same(&before);
}
