//! Tests that a target is unharmed, whatever happens to the process that looks at it.

use std::{fs, process::Command, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd,
};
use rtops_attach::{EndedEarly, Frozen, How, NoCopy, Options, Pid, Refusal, Threads, freeze};

use crate::{
    Test,
    kills::{kill_once, numbers},
    process::{
        Target, children, helper, is_root, status, wait_until, wait_until_free, wait_until_no_copy,
    },
};

pub const TESTS: &[Test] = &[
    ("waiting_goes_on_as_if_nothing_had_been", waiting_goes_on),
    ("registers_are_kept", registers_are_kept),
    ("what_the_kernel_keeps_of_a_process_is_kept", kernel_state),
    ("signals_arrive_once", signals),
    ("threads_that_are_started_all_the_time", churn),
    ("programs_that_are_started_all_the_time", exec),
    ("a_thread_in_vfork_is_gone_on_without", vfork),
    ("a_thread_that_never_leaves_the_kernel", ring),
    ("a_stopped_holder_keeps_no_thread", stopped_holder),
    ("five_hundred_threads", || many_threads(500)),
    ("five_thousand_threads", || many_threads(5000)),
    (
        "a_stop_signal_meanwhile_stops_it_afterwards",
        stop_meanwhile,
    ),
    ("the_copy_ends_with_who_asked", ends_with_who_asked),
];

/// These tests run in their own namespaces and cgroups.
pub const AS_ROOT: &[Test] = &[
    (
        "the_first_process_of_a_namespace_has_no_child_left",
        namespace,
    ),
    ("the_copy_ends_when_memory_is_short", memory_is_watched),
];

pub fn options(threads: Threads) -> Options {
    Options {
        threads,
        // These machines are busy.
        max_pause: Duration::from_secs(2),
        ..Options::default()
    }
}

/// Freezes a target; panics with the reason if that fails.
fn frozen(target: &Target, options: &Options) -> Frozen {
    freeze(Pid::new(target.pid), options).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub fn assert_unharmed(target: &mut Target) {
    assert!(target.is_alive());
    for (name, count) in target.counts() {
        assert!(!name.ends_with("wrong") || count == 0, "{name} {count}");
    }
}

/// Waits until each of its threads has done this many more rounds.
pub fn wait_for_rounds(target: &mut Target, more: u64) {
    let before = target.counts();
    wait_until("all threads go on", || {
        let now = target.counts();
        let mut rounds = before.iter().filter(|(name, _)| name.ends_with("rounds"));
        rounds.all(|(name, before)| now[name] >= before + more)
    });
}

fn waiting_goes_on() {
    for threads in [Threads::All, Threads::One] {
        let mut target = Target::start("waits", &[]);
        wait_for_rounds(&mut target, 3);
        const TIMES: u64 = 30;
        for _ in 0..TIMES {
            drop(frozen(&target, &options(threads)));
        }
        wait_for_rounds(&mut target, 3);
        assert_unharmed(&mut target);
        for (name, count) in target.counts() {
            if name.ends_with("interrupted") {
                // As with any stop, `epoll_wait` is not restarted.
                let is_expected = name.starts_with("epoll") && threads == Threads::All;
                assert!(
                    count <= if is_expected { TIMES } else { 0 },
                    "{name} {count}"
                );
            }
        }
        wait_until_no_copy(&[target.pid]);
    }
}

fn registers_are_kept() {
    let mut target = Target::start("registers", &[]);
    for threads in [Threads::All, Threads::One] {
        for _ in 0..30 {
            drop(frozen(&target, &options(threads)));
        }
    }
    wait_for_rounds(&mut target, 3);
    assert_unharmed(&mut target);
    assert_eq!(target.counts()["interrupted"], 0);
    wait_until_no_copy(&[target.pid]);
}

fn kernel_state() {
    let mut target = Target::start("rich", &[]);
    let before = target.facts();
    for threads in [Threads::All, Threads::One] {
        drop(frozen(&target, &options(threads)));
        wait_until_free(target.pid);
        target.facts().assert_same(&before);
    }
    // The shared page and the file are unchanged, and its child is reaped by it alone.
    assert_eq!(target.ask("check"), "as before");
    wait_until_no_copy(&[target.pid]);
}

fn signals() {
    let mut target = Target::start("signals", &[]);
    for _ in 0..60 {
        drop(frozen(&target, &options(Threads::All)));
    }
    wait_for_rounds(&mut target, 10);
    assert_unharmed(&mut target);
    wait_until_no_copy(&[target.pid]);
}

/// Starts a target that is the first process of a PID namespace.
pub fn in_namespace(name: &str) -> Target {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap());
    let mut target = Target::start_by(command, name, &[]);
    let unshare = target.pid;
    target.pid = *children(unshare).first().unwrap();
    assert!(status(target.pid, "NSpid").unwrap().ends_with("\t1"));
    target
}

fn namespace() {
    if !is_root() {
        return;
    }
    let mut target = in_namespace("plain");
    let before = target.facts();
    for threads in [Threads::All, Threads::One] {
        let frozen = frozen(&target, &options(threads));
        assert_eq!(frozen.how, How::Copied);
        crate::modes::check_heap(&frozen, &mut target);
        wait_until_free(target.pid);
        target.facts().assert_same(&before);
    }
    // A large target, whose copy is held.
    let target = in_namespace("large");
    let before = target.facts();
    let frozen = frozen(&target, &options(Threads::All));
    assert!(frozen.held.is_some());
    drop(frozen);
    wait_until_free(target.pid);
    target.facts().assert_same(&before);
}

fn churn() {
    let mut target = Target::start("churn", &[]);
    for _ in 0..60 {
        drop(frozen(&target, &options(Threads::All)));
    }
    wait_for_rounds(&mut target, 100);
    assert_unharmed(&mut target);
    wait_until_no_copy(&[target.pid]);
}

fn exec() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("number");
    let mut target = Target::start("exec", &["0", file.to_str().unwrap()]);
    let number = || -> u64 {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..150_u64 {
        let result = if round % 3 == 0 {
            let after = Duration::from_micros(round * 37 % 5000);
            kill_once(&target, &options(Threads::All), after);
            "killed".to_owned()
        } else {
            let threads = if round % 2 == 0 {
                Threads::One
            } else {
                Threads::All
            };
            match freeze(Pid::new(target.pid), &options(threads)) {
                Ok(_) => "frozen".to_owned(),
                Err(refusal) => refusal.to_string(),
            }
        };
        *outcomes.entry(result).or_insert(0) += 1;
        assert!(target.is_alive(), "{outcomes:?}");
    }
    println!("{outcomes:?}");
    assert!(outcomes["frozen"] > 10);
    let before = number();
    wait_until("it goes on", || number() > before + 3);
    wait_until_no_copy(&[target.pid]);
}

fn vfork() {
    let mut target = Target::start("vfork", &["0"]);
    let mut without = 0;
    for _ in 0..30 {
        let frozen = frozen(&target, &options(Threads::All));
        without += frozen.threads_not_stopped;
        drop(frozen);
    }
    println!("{without} of 30 without");
    assert!(without > 0);
    wait_for_rounds(&mut target, 3);
    wait_until_no_copy(&[target.pid]);
}

fn ring() {
    let mut target = Target::start("ring", &[]);
    if target.ask("is there one?") == "0" {
        println!("skipped: there is no io_uring here");
        return;
    }
    let before = target.facts();
    for threads in [Threads::All, Threads::One] {
        let frozen = frozen(&target, &options(threads));
        println!(
            "pause {:?}, {} threads",
            frozen.pause,
            frozen.parts.threads.len()
        );
        assert_eq!(frozen.how, How::Copied);
        drop(frozen);
        wait_until_free(target.pid);
        target.facts().assert_same(&before);
    }
    wait_until_no_copy(&[target.pid]);
}

/// A stopped helper that holds a copy must not block a thread that leaves `vfork`.
fn stopped_holder() {
    let mut target = Target::start("vfork", &["60"]);
    let mut tries = 0;
    let frozen = loop {
        let frozen = frozen(&target, &options(Threads::All));
        if frozen.threads_not_stopped > 0 {
            break frozen;
        }
        tries += 1;
        assert!(tries < 100);
    };
    let helper = helper(&[target.pid]).unwrap();
    kill(unistd::Pid::from_raw(helper), Signal::SIGSTOP).unwrap();
    wait_for_rounds(&mut target, 3);
    // If the thread was already released, the helper is still alive and only stopped.
    let _is_there = kill(unistd::Pid::from_raw(helper), Signal::SIGCONT);
    drop(frozen);
    wait_until_no_copy(&[target.pid]);
}

fn many_threads(number: usize) {
    let target = Target::start("threads", &[&number.to_string()]);
    let before = target.facts();
    let mut pauses: Vec<Duration> = (0..3)
        .map(|_| {
            let options = Options {
                max_pause: Duration::from_secs(10),
                ..Options::default()
            };
            let frozen = frozen(&target, &options);
            assert_eq!(frozen.parts.threads.len(), number + 1);
            assert!(
                frozen
                    .parts
                    .threads
                    .iter()
                    .all(|thread| thread.vectors.is_some())
            );
            frozen.pause
        })
        .collect();
    pauses.sort();
    println!("pauses {pauses:?}");
    target.facts().assert_same(&before);
    wait_until_no_copy(&[target.pid]);
}

/// SIGSTOP can't be blocked: it arrives in the middle and must not be lost.
fn stop_meanwhile() {
    let target = Target::start("plain", &[]);
    let pid = unistd::Pid::from_raw(target.pid);
    let mut stopped = 0;
    for number in numbers().take(60) {
        std::thread::scope(|scope| {
            let freezing = scope.spawn(|| freeze(Pid::new(target.pid), &options(Threads::All)));
            wait_until("there is a helper", || {
                helper(&[target.pid]).is_some() || freezing.is_finished()
            });
            std::thread::sleep(Duration::from_micros(number % 6000));
            kill(pid, Signal::SIGSTOP).unwrap();
            if matches!(freezing.join().unwrap(), Err(Refusal::Stopped)) {
                stopped += 1;
            }
        });
        wait_until("it is stopped", || {
            status(target.pid, "State").unwrap().starts_with('T')
        });
        kill(pid, Signal::SIGCONT).unwrap();
        wait_until_free(target.pid);
        wait_until_no_copy(&[target.pid]);
    }
    println!("{stopped} of 60 refused");
}

/// A cgroup for a single process.
struct Group(std::path::PathBuf);

impl Group {
    fn new(limit: u64) -> Option<Self> {
        let path = format!("/sys/fs/cgroup/memory/rtops-test-{}", std::process::id());
        fs::create_dir(&path).ok()?;
        let group = Self(path.into());
        fs::write(group.0.join("memory.limit_in_bytes"), limit.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel frees its memory a little later.
        wait_until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

fn memory_is_watched() {
    const MIB: u64 = 1 << 20;
    let Some(group) = Group::new(400 * MIB) else {
        println!("skipped: no cgroup of the first version can be made here");
        return;
    };
    let mut command = Command::new("sh");
    let script = format!(
        "echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"",
        group.0.display()
    );
    command
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap());
    let mut target = Target::start_by(command, "memory", &["150"]);
    let mut frozen = frozen(&target, &options(Threads::All));
    // The first write to each page copies it, which takes more than half of the free memory.
    assert_eq!(target.ask("write"), "written");
    wait_until_no_copy(&[target.pid]);
    assert_eq!(frozen.held.take().unwrap().end(), Some(EndedEarly::Memory));
    drop(frozen);
    assert!(target.is_alive());
    // Now there is too little memory from the start.
    let limit = group.0.join("memory.limit_in_bytes");
    fs::write(limit, (165 * MIB).to_string()).unwrap();
    let options = Options {
        // Too little time to read it while it is stopped.
        max_pause: Duration::from_millis(20),
        ..Options::default()
    };
    let refusal = freeze(Pid::new(target.pid), &options)
        .map(|frozen| frozen.how)
        .unwrap_err();
    println!("{refusal}");
    let why = match refusal {
        Refusal::CantCopy { why, .. } => why,
        other => panic!("{other}"),
    };
    assert!(matches!(why, NoCopy::LittleMemory(_)));
    wait_until_no_copy(&[target.pid]);
    drop(target);
}

/// If the process that asked is killed, no copy stays.
fn ends_with_who_asked() {
    let target = Target::start("memory", &["100"]);
    let before = target.facts();
    let mut freezer = Target::start("freezer", &[]);
    assert_eq!(freezer.ask(&format!("hold {}", target.pid)), "Copied");
    wait_until("it is held", || helper_of(freezer.pid).is_some());
    drop(freezer);
    wait_until_no_copy(&[target.pid]);
    target.facts().assert_same(&before);
}

fn helper_of(pid: i32) -> Option<i32> {
    children(pid).first().copied()
}
