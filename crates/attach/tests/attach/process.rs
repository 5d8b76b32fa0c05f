//! Starts targets and reads their state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, geteuid},
};

use crate::targets;

/// Nothing here takes this long, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns whether this is root, who alone can become another user,
/// make a namespace, or lock much memory.
pub fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        println!("skipped: only root can become another user, make a namespace or lock its memory");
    }
    is_root
}

/// Makes copies children of this process, to see what becomes of them.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).unwrap();
}

/// A process to freeze. Dropping it kills it.
pub struct Target {
    process: Child,
    /// The PID of the process to freeze, which may be a child of the one that was started.
    pub pid: i32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_by(Command::new("/proc/self/exe"), name, arguments)
    }

    /// Starts a target through a command that runs its remaining arguments.
    pub fn start_by(mut command: Command, name: &str, arguments: &[&str]) -> Self {
        let mut process = command
            .arg(targets::ARGUMENT)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let pid = process.id().cast_signed();
        let mut target = Self {
            process,
            pid,
            input,
            output,
        };
        assert_eq!(target.line(), "ready");
        target
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Sends a command and returns the answer.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.line()
    }

    /// Returns the target's counters.
    pub fn counts(&mut self) -> BTreeMap<String, u64> {
        let answer = self.ask("counts");
        let pairs = answer.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        pairs.collect()
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Returns what must be the same before and after.
    pub fn facts(&self) -> Facts {
        let is_asleep = |tid| {
            let path = format!("/proc/{}/task/{tid}/status", self.pid);
            fs::read_to_string(path).is_ok_and(|status| status.contains("State:\tS"))
        };
        wait_until("all threads wait", || {
            threads(self.pid).into_iter().all(is_asleep)
        });
        Facts::of(self.pid)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended.
        let _is_there = self.process.kill();
        let _is_reaped = self.process.wait();
    }
}

/// What /proc says about a process that only waits, one fact per line.
#[derive(Debug, Eq, PartialEq)]
pub struct Facts(BTreeSet<String>);

impl Facts {
    fn of(pid: i32) -> Self {
        let directory = format!("/proc/{pid}");
        let mut facts = BTreeSet::new();
        for entry in fs::read_dir(format!("{directory}/fd")).unwrap() {
            let entry = entry.unwrap();
            let link = fs::read_link(entry.path()).unwrap_or_default();
            let name = entry.file_name();
            facts.insert(format!("descriptor {} {}", name.display(), link.display()));
        }
        let mut lines = |path: &str, names: &[&str]| {
            let text = fs::read_to_string(format!("{directory}/{path}")).unwrap_or_default();
            for line in text.lines() {
                if names.is_empty() || names.iter().any(|name| line.starts_with(name)) {
                    facts.insert(format!("{path} {line}"));
                }
            }
        };
        lines("maps", &[]);
        lines("timers", &[]);
        for tid in threads(pid) {
            // Pending, blocked, ignored, and caught signals.
            let names = ["SigP", "SigB", "SigI", "SigC", "Shd", "Tracer"];
            lines(&format!("task/{tid}/status"), &names);
        }
        for child in children(pid) {
            facts.insert(format!("child {child}"));
        }
        Self(facts)
    }

    /// Panics with the differences, if any.
    pub fn assert_same(&self, other: &Self) {
        let different: Vec<_> = self.0.symmetric_difference(&other.0).collect();
        assert!(different.is_empty(), "{different:#?}");
    }
}

pub fn threads(pid: i32) -> BTreeSet<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

/// Returns the children of a process, including those that have ended.
pub fn children(pid: i32) -> BTreeSet<i32> {
    let all = threads(pid).into_iter().flat_map(|tid| {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{tid}/children"));
        let list = list.unwrap_or_default();
        list.split_whitespace()
            .map(|child| child.parse::<i32>().unwrap())
            .collect::<Vec<_>>()
    });
    all.collect()
}

pub fn status(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

/// Waits until nobody traces the threads of a process and none is stopped.
pub fn wait_until_free(pid: i32) {
    wait_until("the target is free", || {
        threads(pid).into_iter().all(|tid| {
            let task = format!("/proc/{pid}/task/{tid}/status");
            // A thread that has ended is free.
            fs::read_to_string(task).is_ok_and(|status| {
                status.contains("TracerPid:\t0\n")
                    && !status.contains("State:\tt")
                    && !status.contains("State:\tT")
            })
        })
    });
}

/// Waits until no copy is left, and reaps those that ended. Returns their number.
pub fn wait_until_no_copy(targets: &[i32]) -> usize {
    let mut ended = 0;
    wait_until("no copy is left", || {
        let own = std::process::id().cast_signed();
        let others: Vec<i32> = children(own)
            .into_iter()
            .filter(|child| !targets.contains(child))
            .collect();
        for other in &others {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
            let status = waitpid(Pid::from_raw(*other), Some(flags));
            if let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) = status {
                ended += 1;
            }
        }
        others.is_empty()
    });
    ended
}

/// Returns the helper of this process.
pub fn helper(others: &[i32]) -> Option<i32> {
    let own = std::process::id().cast_signed();
    children(own).into_iter().find(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        !others.contains(child) && line.contains("--rtops-attach-helper")
    })
}
