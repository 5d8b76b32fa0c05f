//! A look from outside at an unprepared process harms nobody: not a service under
//! load, not one that is short of memory or processor time, not one in a
//! namespace, and not the process that looks.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::{Pid, geteuid},
};
use procfs::process::{Process, Stat};
use tempfile::{TempDir, tempdir};

use crate::{
    cgroup::{Cgroup, CpuGroup},
    load::Load,
    namespaces::only_child_of,
    reply::Stack,
    source::Marks,
    support::{Build, DEADLINE, Run, Target, copy_program, eventually, quiet},
    users::{NOBODY, OtherUser},
    watched::{HOSTILE, Watched, expect_neighbours, lasting_state},
};

#[path = "../../benches/measure/mod.rs"]
#[allow(dead_code, reason = "most of it is for the benchmarks")]
mod measure;

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");

const LOOK: [&str; 3] = ["--tasks", "--json", "--timeout=60s"];
/// With time for a busy machine.
const PATIENTLY: [&str; 4] = ["--tasks", "--json", "--timeout=60s", "--max-pause=2s"];

/// In KiB.
const MIB: u64 = 1 << 10;

#[test]
fn a_hundred_dumps_under_full_load_lose_no_request() {
    let watched = Watched::without_agent(Build::Release, "none");
    let load = Load::start(&watched.target);
    load.expect_progress();
    let before = watched.facts();
    for _ in 0..100 {
        expect_neighbours(&watched.dump());
        load.expect_progress();
    }
    eventually("no copy is left", || watched.copies().is_empty());
    watched.expect(&before);
    watched.expect_pokes_to_be_counted(before);
    assert!(load.stop() > 0);
    assert_eq!(watched.target.log(), "");
}

#[test]
fn no_hostile_poll_reaches_a_process_that_nobody_prepared() {
    for kind in HOSTILE {
        let watched = Watched::without_agent(Build::Release, kind);
        let before = watched.facts();
        expect_neighbours(&watched.dump());
        eventually("no copy is left", || watched.copies().is_empty());
        watched.target.expect_progress();
        watched.expect(&before);
        watched.expect_pokes_to_be_counted(before);
        assert_eq!(watched.target.log(), "", "{kind}");
    }
}

/// Starts a service of this many MiB.
pub fn service(mut command: Command, mebibytes: u32) -> Target {
    command.arg("writing").arg(mebibytes.to_string());
    let service = Target::without_agent(command);
    assert_eq!(service.ready(), service.pid);
    quiet(service.pid);
    service
}

/// Has the service write to all of its memory, again and again.
fn busy(service: Target) -> Target {
    assert_eq!(service.command("write"), "writing");
    service.expect_progress();
    service
}

/// Expects a complete look that shows all that the service waits for.
#[track_caller]
fn expect_whole(run: Run) {
    let run = run.success();
    let stack: Stack = run.json();
    assert!(stack.complete, "{run}");
    expect_waiting(&stack);
    let outside = stack.outside.unwrap();
    assert_eq!(outside.read_standing, None, "{run}");
}

#[track_caller]
fn expect_waiting(stack: &Stack) {
    let groups = stack.task_groups();
    let marks = Marks::read();
    assert!(stack.has_task_at(marks.of("writing-waits")), "{groups:#?}");
    let waiting = groups.iter().filter(|group| group.kind == "task");
    assert_eq!(waiting.map(|group| group.count).sum::<usize>(), 3);
}

/// Looks this many times. Each look shows the tasks or says why not, and the service keeps running.
fn look_again_and_again(service: &Target, more: &[&str], times: u32, after_each: impl Fn(&Run)) {
    let pid = service.pid.to_string();
    let mut outcomes = BTreeMap::new();
    for _ in 0..times {
        let run = service.rtops(&[&["stack", &pid], &LOOK[..], more].concat());
        *outcomes.entry(outcome(&run)).or_insert(0) += 1;
        service.expect_progress();
        after_each(&run);
    }
    eprintln!("{outcomes:#?}");
}

/// Returns that tasks are shown, or why not.
#[track_caller]
fn outcome(run: &Run) -> String {
    if run.code == Some(1) {
        assert!(run.stdout.is_empty(), "{run}");
        expect_one_sentence(run);
        return run.stderr.clone();
    }
    let stack: Stack = run.json();
    if run.code == Some(6) {
        assert!(!stack.gaps.is_empty(), "{run}");
        return stack.gaps.join(", ");
    }
    assert_eq!(run.code, Some(0), "{run}");
    expect_waiting(&stack);
    let outside = stack.outside.unwrap();
    format!(
        "shown; read while it stood still: {:?}",
        outside.read_standing
    )
}

#[track_caller]
pub fn expect_one_sentence(run: &Run) {
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    assert!(run.stderr.starts_with("rtops: "), "{run}");
}

#[test]
fn a_service_that_is_short_of_memory_is_not_killed() {
    let Some(group) = Cgroup::make("short") else {
        eprintln!("skipped: no cgroup with a limit of memory can be made here");
        return;
    };
    group.limit(760 << 20);
    // There is no room for what the first service writes while it is
    // copied, but for all memory of the second.
    for (mebibytes, hasty, patient) in [(600, 20, 2), (200, 0, 5)] {
        let service = busy(service(group.command(Build::Release.path()), mebibytes));
        let before = group.oom_kills();
        let is_alive = |run: &Run| assert_eq!(group.oom_kills(), before, "{run}");
        look_again_and_again(&service, &["--max-pause=100ms"], hasty, is_alive);
        look_again_and_again(&service, &["--max-pause=2s"], patient, is_alive);
    }
}

#[test]
fn a_service_pays_no_processor_time_for_the_work() {
    let Some(group) = CpuGroup::make("paying") else {
        eprintln!("skipped: no cgroup with a limit of processor time can be made here");
        return;
    };
    group.limit(Duration::from_millis(50));
    let program = Build::Release.path();
    let service = service(group.command(program), 64);
    let (used, throttled) = (group.used(), group.throttled());
    let mut own = Duration::ZERO;
    let mut seen_copies = 0;
    let mut dumps = 0;
    let end = Instant::now() + DEADLINE;
    while dumps < 5 || seen_copies == 0 {
        assert!(Instant::now() < end, "no copy was seen");
        let mut dump = start_dump(&service);
        while !has_ended(&dump) {
            let members = group.members();
            let copies = members.into_iter().filter(|pid| *pid != service.pid);
            for copy in copies {
                // The copy may have ended.
                let Ok(runs) = fs::read_link(format!("/proc/{copy}/exe")) else {
                    continue;
                };
                assert_eq!(runs, program);
                seen_copies += 1;
            }
        }
        own += time_of(&dump);
        assert!(dump.wait().unwrap().success());
        dumps += 1;
    }
    let paid = group.used() - used;
    eprintln!("{dumps} dumps took {own:?}, and the service paid {paid:?}");
    assert!(paid < own, "{paid:?} of {own:?}");
    assert_eq!(group.throttled(), throttled);
}

fn start_dump(target: &Target) -> Child {
    Command::new(RTOPS)
        .args(["stack", &target.pid.to_string()])
        .args(PATIENTLY)
        .env_clear()
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether a child has ended. Leaves it to be waited for.
fn has_ended(child: &Child) -> bool {
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    waitid(Id::Pid(pid), flags).unwrap().pid().is_some()
}

/// Returns the processor time of a process that has ended, and of its children.
fn time_of(child: &Child) -> Duration {
    let process = Process::new(child.id().try_into().unwrap()).unwrap();
    let Stat {
        utime,
        stime,
        cutime,
        cstime,
        ..
    } = process.stat().unwrap();
    let children = u64::try_from(cutime + cstime).unwrap();
    let ticks = (utime + stime + children) as f64;
    Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64)
}

#[test]
fn a_service_that_waits_for_its_quota_goes_on() {
    let Some(group) = CpuGroup::make("waiting") else {
        eprintln!("skipped: no cgroup with a limit of processor time can be made here");
        return;
    };
    let service = busy(service(group.command(Build::Release.path()), 64));
    group.limit(Duration::from_millis(10));
    let throttled = group.throttled();
    eventually("it waits for its quota", || group.throttled() > throttled);
    look_again_and_again(&service, &["--max-pause=2s"], 10, |_| {});
}

/// Copies the service's program to where anybody may run it.
pub fn program_for_all() -> (TempDir, PathBuf) {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("service");
    copy_program(Build::Release.path(), &program);
    (directory, program)
}

/// Starts a service in a new user namespace, made by an ordinary user, if that is possible here.
/// Also returns its PID outside and inside.
fn in_a_namespace(program: &Path, script: &str) -> Option<(Target, i32, i32)> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--fork", "--pid"]);
        command.args(["--mount-proc", "--kill-child"]);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir("/");
        command
    };
    let can = unshare().arg("true").output().unwrap();
    if !can.status.success() {
        let why = String::from_utf8_lossy(&can.stderr);
        eprintln!("skipped: no user namespace can be made here: {why}");
        return None;
    }
    let mut command = unshare();
    command.args(["sh", "-c", script]).arg(program);
    command.args(["writing", "1"]);
    let service = Target::without_agent(command);
    let inner = service.ready();
    let mut outer = service.pid;
    while fs::read_link(format!("/proc/{outer}/exe")).unwrap() != program {
        outer = only_child_of(outer);
    }
    quiet(outer);
    Some((service, outer, inner))
}

/// Runs the service as the first process of its namespace, and as a
/// child of the first, which waits for it.
const SCRIPTS: [(&str, bool); 2] = [("exec \"$0\" \"$@\"", true), ("\"$0\" \"$@\"; exit", false)];

#[test]
fn a_service_in_a_user_namespace_is_shown_to_who_is_outside() {
    let (_directory, program) = program_for_all();
    for (script, is_first) in SCRIPTS {
        let Some((service, outer, inner)) = in_a_namespace(&program, script) else {
            return;
        };
        assert_eq!(inner == 1, is_first);
        let before = lasting_state(outer);
        let pid = outer.to_string();
        for _ in 0..3 {
            expect_whole(service.rtops(&[&["stack", &pid][..], &PATIENTLY].concat()));
        }
        expect_state(outer, &before);
    }
}

#[test]
fn a_service_in_a_user_namespace_is_shown_to_who_is_inside() {
    let (_directory, program) = program_for_all();
    let rtops = OtherUser::new();
    for (script, is_first) in SCRIPTS {
        let Some((_service, outer, inner)) = in_a_namespace(&program, script) else {
            return;
        };
        assert_eq!(inner == 1, is_first);
        let before = lasting_state(outer);
        for _ in 0..3 {
            let mut command = Command::new("nsenter");
            command
                .args(["--user", "--pid", "--mount"])
                .args(["--target", &outer.to_string()])
                .arg(rtops.program())
                .args(["stack", &inner.to_string()])
                .args(PATIENTLY)
                .env_clear();
            expect_whole(Run::of(command));
        }
        expect_state(outer, &before);
    }
}

type State = BTreeMap<&'static str, String>;

/// Panics unless all is as it was. That may take a moment: the end
/// of a copy is noticed only after it.
#[track_caller]
pub fn expect_state(pid: i32, before: &State) {
    let end = Instant::now() + DEADLINE;
    while lasting_state(pid) != *before && Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!(lasting_state(pid), *before);
}

#[test]
fn a_large_process_takes_little_memory_of_who_looks() {
    const TO_FILE: &str = "exec \"$@\" > \"$0\"";
    let mut command = Command::new(Build::Release.path());
    command.arg("big-herd");
    let target = Target::without_agent(command);
    target.ready();
    let directory = tempdir().unwrap();
    let file = directory.path().join("stack");
    let pid = target.pid.to_string();
    let run = ["sh", "-c", TO_FILE, file.to_str().unwrap(), RTOPS];
    let (_, peak) = measure::run(&[&run[..], &["stack", &pid], &PATIENTLY].concat());
    let stack: Stack = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(stack.complete, "{:?}", stack.gaps);
    assert_eq!(stack.tasks().count(), 1000);
    eprintln!("{} MiB at most", peak / MIB);
    assert!(peak < 200 * MIB, "{peak} KiB");
}

#[test]
fn an_agent_tells_what_it_knows_where_the_copy_is_lost() {
    let directory = Arc::new(tempdir().unwrap());
    let program = directory.path().join("service");
    copy_program(Build::Release.path(), &program);
    let target = Target::start_in(directory, &program, &["big-herd"]);
    let is_over = AtomicBool::new(false);
    // The end for the thread, which the test waits for even if it fails.
    let end = Instant::now() + 2 * DEADLINE;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) && Instant::now() < end {
                for copy in copies_of(&program, target.pid) {
                    let _is_there = kill(copy, Signal::SIGKILL);
                }
            }
        });
        let pid = target.pid.to_string();
        // If a copy is found too late, it has been read already.
        eventually("a copy is lost while it is read", || {
            let run = target.rtops(&[&["stack", &pid][..], &PATIENTLY].concat());
            let stack: Stack = run.json();
            let said = [&stack.gaps[..], &stack.lacks].concat().join(", ");
            match run.code {
                Some(0) => false,
                Some(6) => said.contains("copy of the process was killed"),
                _ => panic!("{run}"),
            }
        });
        is_over.store(true, Relaxed);
    });
    assert_eq!(target.command("check"), "0");
}

/// Returns the copies of a process: orphans that run its program. Its children are left out.
fn copies_of(program: &Path, pid: i32) -> impl Iterator<Item = Pid> {
    let others = procfs::process::all_processes().unwrap().flatten();
    others
        .filter(move |other| other.exe().is_ok_and(|exe| exe == program))
        .filter(move |other| {
            let is_orphan = other.stat().is_ok_and(|stat| stat.ppid != pid);
            other.pid() != pid && is_orphan
        })
        .map(|other| Pid::from_raw(other.pid()))
}
