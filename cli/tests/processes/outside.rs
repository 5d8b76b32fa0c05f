//! Live processes that are looked at from outside, with or without an agent.

use std::{collections::BTreeSet, fs, process, thread};

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, gettid},
};
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    look::{look, stack},
    reply::Stack,
    support::{Build, Target, eventually, rtops},
    victim::Victim,
};

/// A scenario with ten tasks that no agent knows.
const TEN: &[&str] = &["plain-herd", "10"];

#[test]
fn it_may_be_called_by_its_name() {
    let folder = tempdir().unwrap();
    let name = format!("nobody-{}", process::id());
    let program = folder.path().join(&name);
    fs::copy(Build::Dev.path(), &program).unwrap();
    let _victim = Victim::start(&program, TEN).quiet();
    let run = rtops(None, &["stack", &name, "--tasks", "--max-pause=1s"]).success();
    assert!(run.stdout.contains("10 tasks"), "{run}");
}

#[test]
fn other_commands_look_at_it_too() {
    let victim = Victim::start(Build::Dev.path(), TEN).quiet();
    let stats = look(&["stats"], victim.pid(), &["--json"]).success();
    let stats: Value = stats.json();
    assert_eq!(stats["tasks"]["untracked"], 10, "{stats:#}");
    assert_eq!(stats["process"]["pid"], victim.pid(), "{stats:#}");
    let leaks = look(&["leaks", "--for=1s"], victim.pid(), &[]).success();
    assert!(leaks.stdout.contains("10 tasks"), "{leaks}");
    let profile = look(&["profile", "tasks"], victim.pid(), &["--debug=1"]).success();
    assert!(
        profile.stdout.starts_with("goroutine profile: total "),
        "{profile}"
    );
    // It can be shown again later.
    let folder = tempdir().unwrap();
    let saved = folder.path().join("saved");
    let saved = saved.to_str().unwrap();
    look(&["stack"], victim.pid(), &["--save", saved]).success();
    let again = rtops(None, &["stack", "--tasks", "--from", saved]).success();
    assert!(again.stdout.contains("herd::waits"), "{again}");
}

#[test]
fn looks_at_one_process_take_turns() {
    let victim = Victim::start(Build::Dev.path(), TEN).quiet();
    let pid = victim.pid();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| look(&["stack"], pid, &["--max-pause=10s"]).success());
        }
    });
}

#[test]
fn a_process_without_tokio_shows_its_threads() {
    let mut child = process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id().try_into().unwrap();
    // The name alone may be that of a program that is about to start.
    eventually("it sleeps", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
        call.starts_with(&format!("{} ", nix::libc::SYS_clock_nanosleep))
    });
    let run = look(&["stack"], pid, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    let run = run.success();
    assert!(run.stdout.contains("1 thread \"sleep\""), "{run}");
    assert!(run.stdout.contains("nanosleep"), "{run}");
    assert!(run.stdout.contains("no sign of tokio in it"), "{run}");
}

#[test]
fn what_can_not_be_looked_at_says_why() {
    let victim = Victim::start(Build::Dev.path(), TEN).quiet();
    let pid = Pid::from_raw(victim.pid());
    // With looks from outside forbidden, there is no other way.
    let run = look(&["stack"], victim.pid(), &["--attach=never"]).exits(4);
    assert!(run.stderr.contains("has no rtops agent"), "{run}");
    kill(pid, Signal::SIGSTOP).unwrap();
    let run = look(&["stack"], victim.pid(), &[]).exits(1);
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(run.stderr.contains("kill -CONT"), "{run}");
    look(&["stack"], victim.pid(), &[]).success();
}

/// A stopped process answers nobody, even if it has an agent.
#[test]
fn a_stopped_process_with_an_agent_says_so_at_once() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    target.signal(Signal::SIGSTOP);
    for command in ["stack", "leaks", "stats", "trim"] {
        let run = target
            .rtops(&[command, &target.pid.to_string(), "--timeout=60s"])
            .exits(1);
        assert!(
            run.stderr
                .contains("is stopped (SIGSTOP): let it go on first"),
            "{run}"
        );
    }
    target.signal(Signal::SIGCONT);
}

/// The same for a process that a debugger has stopped.
#[test]
fn a_process_that_a_debugger_stopped_says_so_at_once() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let pid = Pid::from_raw(target.pid);
    ptrace::attach(pid).unwrap();
    waitpid(pid, None).unwrap();
    let run = target
        .rtops(&["trim", &target.pid.to_string(), "--timeout=60s"])
        .exits(1);
    ptrace::detach(pid, None).unwrap();
    // The tracer is this thread.
    let tracer = format!("is stopped by process {}, which traces it", gettid());
    assert!(run.stderr.contains(&tracer), "{run}");
    target
        .rtops(&["memstats", &target.pid.to_string()])
        .success();
}

/// Without a look from outside, the agent polls its tasks once more, which leaves its own wakers in
/// the futures. These lead to its records and not to cells.
#[test]
fn what_its_agent_has_probed_is_polled_as_before() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let before = stack(target.pid, &["--tasks"]);
    target.stack(&["--tasks", "--attach=never"]);
    target.stack(&["--tasks", "--attach=never"]);
    let cells = |stack: &Stack| -> BTreeSet<String> {
        stack.tasks().filter_map(|task| task.cell.clone()).collect()
    };
    // A task that ticks may hold a lock, or be woken, at that very moment.
    eventually("all show where they wait", || {
        let alone = stack(target.pid, &["--tasks"]);
        let unresolved = alone.tasks().filter(|task| task.reason.is_some());
        unresolved.count() == 0 && cells(&alone) == cells(&before)
    });
}
