//! Processes that are looked at from outside while they live, without an agent or with one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{self, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    core::{block_on, forms, packages, versions, victim::Victim},
    reply::Stack,
    source::Marks,
    support::{Build, Run, Target, eventually, rtops},
    unwrapped::compare,
    versions::expected,
};

/// What `rtops COMMAND PID` prints.
fn look(command: &[&str], pid: i32, arguments: &[&str]) -> Run {
    let pid = pid.to_string();
    rtops(
        None,
        &[command, &[&pid, "--timeout=60s"], arguments].concat(),
    )
}

pub fn stack(pid: i32, arguments: &[&str]) -> Stack {
    let run = look(&["stack", "--json"], pid, arguments).success();
    let stack: Stack =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let Some(outside) = &stack.outside else {
        panic!("its agent was asked: {run}");
    };
    assert!(outside.pause_ms > 0.0, "{run}");
    assert!(outside.copy_ms.unwrap() > 0.0, "{run}");
    assert_eq!(outside.read_standing, None, "{run}");
    stack
}

/// What may not be changed by a look: files, mappings, threads, signals.
pub fn state(pid: i32) -> BTreeMap<&'static str, String> {
    let directory = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let names = |folder: &str| {
        let entries = fs::read_dir(directory.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    let status = read("status");
    let fixed = [
        "State",
        "TracerPid",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
    ];
    let status = status
        .lines()
        .filter(|line| fixed.iter().any(|name| line.starts_with(name)));
    BTreeMap::from([
        ("status", status.collect::<Vec<_>>().join("\n")),
        ("maps", read("maps")),
        ("fd", names("fd")),
        ("task", names("task")),
        ("children", read(&format!("task/{pid}/children"))),
    ])
}

fn expect_awaits(build: Build, executor: &str) {
    let marks = Marks::read();
    let victim = Victim::start(build.path(), &["unwrapped", executor]).quiet();
    let before = state(victim.pid());
    let stack = stack(victim.pid(), &["--tasks"]);
    compare(&marks, &stack, build).expect_right();
    assert_eq!(state(victim.pid()), before);
}

#[test]
fn a_release_build_on_workers() {
    expect_awaits(Build::Release, "multi");
}

#[test]
fn a_release_build_on_one_thread() {
    expect_awaits(Build::Release, "current");
}

#[test]
fn a_release_build_in_a_local_set() {
    expect_awaits(Build::Release, "local");
}

#[test]
fn a_dev_build_on_workers() {
    expect_awaits(Build::Dev, "multi");
}

#[test]
fn each_version_of_tokio() {
    for version in versions::VERSIONS {
        let service = packages::service(version).build().join("service");
        let victim = Victim::start(&service, &["ten"]).parked();
        let marks = versions::marks();
        let verdict = expected(&marks, &[]).compare(&stack(victim.pid(), &["--tasks"]));
        assert!(verdict.is_right(), "tokio {version}: {verdict}");
        eprintln!("tokio {version}: all right");
    }
}

#[test]
fn all_futures_in_block_on() {
    let victim = Victim::start(&packages::program("block_on"), &[]).quiet();
    block_on::expect(&stack(victim.pid(), &[]));
}

#[test]
fn what_is_easily_told_wrong() {
    let victim = Victim::start(&packages::program("forms"), &[]).parked();
    let text = look(&["stack"], victim.pid(), &["--tasks"]).success();
    assert!(
        text.stdout
            .contains("looked at from outside, without an agent"),
        "{text}"
    );
    forms::expect(&text, &stack(victim.pid(), &["--tasks"]));
}

#[test]
fn it_may_be_called_by_its_name() {
    let folder = tempdir().unwrap();
    let name = format!("nobody-{}", process::id());
    let program = folder.path().join(&name);
    fs::copy(packages::newest(), &program).unwrap();
    let _victim = Victim::start(&program, &["ten"]).parked();
    let run = rtops(None, &["stack", &name, "--tasks", "--max-pause=1s"]).success();
    assert!(run.stdout.contains("10 tasks"), "{run}");
}

#[test]
fn other_commands_look_at_it_too() {
    let victim = Victim::start(packages::newest(), &["ten"]).parked();
    let stats = look(&["stats"], victim.pid(), &["--json"]).success();
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["untracked"]["tasks"], 10, "{stats:#}");
    assert_eq!(stats["process"]["pid"], victim.pid(), "{stats:#}");
    let leaks = look(&["leaks", "--for=1s"], victim.pid(), &[]).success();
    assert!(leaks.stdout.contains("no findings in 10 tasks"), "{leaks}");
    let profile = look(&["profile", "tasks"], victim.pid(), &["--debug=1"]).success();
    assert!(
        profile.stdout.starts_with("goroutine profile: total "),
        "{profile}"
    );
    // And it can be shown again later.
    let folder = tempdir().unwrap();
    let saved = folder.path().join("saved");
    let saved = saved.to_str().unwrap();
    look(&["stack"], victim.pid(), &["--save", saved]).success();
    let again = rtops(None, &["stack", "--tasks", "--from", saved]).success();
    assert!(again.stdout.contains("service::locking"), "{again}");
}

#[test]
fn a_process_without_tokio_shows_its_threads() {
    let mut child = process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id().try_into().unwrap();
    // Its name alone may be that of a program that is about to start.
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
    let victim = Victim::start(packages::newest(), &["ten"]).parked();
    let pid = Pid::from_raw(victim.pid());
    // As nobody wants to look from outside, there is no other way.
    let run = look(&["stack"], victim.pid(), &["--attach=never"]).exits(4);
    assert!(run.stderr.contains("has no rtops agent"), "{run}");
    kill(pid, Signal::SIGSTOP).unwrap();
    let run = look(&["stack"], victim.pid(), &[]).exits(1);
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(run.stderr.contains("kill -CONT"), "{run}");
    look(&["stack"], victim.pid(), &[]).success();
}

/// A shell waits for children of its own kind only.
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

/// A stopped process answers nobody, also if it has an agent.
#[test]
fn a_stopped_process_with_an_agent_says_so_at_once() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    target.signal(Signal::SIGSTOP);
    for command in ["stack", "leaks", "stats"] {
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

/// An agent alone polls its tasks once more, which leaves wakers of its own in the futures. These lead to its
/// records and not to cells.
#[test]
fn what_its_agent_has_probed_is_polled_as_before() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let before = stack(target.pid, &["--tasks"]);
    target.stack(&["--tasks", "--attach=never"]);
    target.stack(&["--tasks", "--attach=never"]);
    let cells = |stack: &Stack| -> BTreeSet<String> {
        stack.tasks().filter_map(|task| task.cell.clone()).collect()
    };
    // What ticks may hold a lock, or be woken, at the very moment.
    eventually("all show where they wait", || {
        let alone = stack(target.pid, &["--tasks"]);
        let unresolved = alone.tasks().filter(|task| task.reason.is_some());
        unresolved.count() == 0 && cells(&alone) == cells(&before)
    });
}

/// Where memory tells where tasks wait, nobody has to poll them.
#[test]
fn no_task_is_polled_for_a_look() {
    let target = Target::start(Build::Release, &["polled"]);
    let polls = target.command("check");
    for command in [
        &["stack"][..],
        &["leaks", "--for=1s"],
        &["stats"],
        &["profile", "tasks", "--debug=1"],
    ] {
        look(command, target.pid, &[]).success();
        let pid = target.pid.to_string();
        target.rtops(&[command, &[&pid]].concat()).success();
        assert_eq!(target.command("check"), polls, "{command:?}");
    }
    let stack = target.stack(&["--tasks"]);
    let [waits, never] = ["waits", "never"].map(|name| stack.group(name));
    assert_eq!((waits.count, &*waits.state), (20, "waiting"), "{waits:#?}");
    assert_eq!(waits.spans, ["inside"], "{waits:#?}");
    assert_eq!((never.count, &*never.state), (20, "never"), "{never:#?}");
    assert_eq!(target.command("check"), polls);
    // As an agent does that is alone.
    target.stack(&["--tasks", "--attach=never"]);
    assert_ne!(target.command("check"), polls);
}

/// What its agent tells of a task is told of the task that is read.
#[test]
fn with_an_agent_the_same_is_shown_and_more() {
    for executor in ["multi", "current", "local"] {
        let target = Target::start(Build::Release, &["awaits", executor]);
        let alone = stack(target.pid, &["--tasks"]);
        let joined = target.stack(&["--tasks"]);
        let cells = |stack: &Stack| -> BTreeMap<String, u64> {
            let tasks = stack.tasks();
            let tasks = tasks.filter_map(|task| Some((task.cell.clone()?, task.tokio_id?)));
            tasks.collect()
        };
        assert_eq!(cells(&joined), cells(&alone), "{executor}");
        let is_tracked = |task: &&crate::reply::Task| task.tracked == Some(true);
        let tracked = joined.tasks().filter(is_tracked);
        assert!(tracked.count() > 35, "{executor}");
        for group in joined.task_groups() {
            let is_task = group.kind == "task" && group.tasks[0].tracked == Some(true);
            let is_read = group.tasks.iter().all(|task| task.tokio_id.is_some());
            assert!(!is_task || (is_read && group.name.is_some()), "{group:#?}");
        }
    }
}
