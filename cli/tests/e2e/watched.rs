//! A service with everything that a look could harm, and what must be the same
//! after each look: the scenario `untouched`.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

use tempfile::{TempDir, tempdir, tempdir_in};

use crate::{
    look,
    reply::Stack,
    source::Marks,
    support::{Build, DEADLINE, Target, eventually, quiet},
};

/// What a poll would do, each in its own target.
pub const HOSTILE: &[&str] = &[
    "abort",
    "close",
    "command",
    "endless",
    "exit",
    "fork",
    "kill-group",
    "kill-original",
    "kill-self",
    "lock",
    "null",
    "overwrite",
    "panic",
    "pipe",
    "receive",
    "recursion",
    "remove",
    "send",
    "shared",
    "shutdown",
    "sleep",
    "stdout",
    "thread",
    "trap",
    "unmap",
];

/// With time for a busy machine.
const LOOK: [&str; 3] = ["--tasks", "--attach=always", "--max-pause=2s"];

/// Expects that the tasks next to hostile ones are found, in a copy.
pub fn expect_neighbours(stack: &Stack) {
    let marks = Marks::read();
    for name in ["untouched-beside", "untouched-accept"] {
        assert!(
            stack.has_task_at(marks.of(name)),
            "{name}: {:#?}",
            stack.task_groups()
        );
    }
    let outside = stack.outside.as_ref();
    assert!(
        outside.is_some_and(|outside| outside.read_standing.is_none()),
        "{outside:?}"
    );
}

/// A target whose program has a unique path, by which its copies are found.
pub struct Watched {
    pub target: Target,
    has_agent: bool,
    program: PathBuf,
    _programs: TempDir,
}

/// Returns what a look may not change, except whether the main thread waits at the moment.
pub fn lasting_state(pid: i32) -> BTreeMap<&'static str, String> {
    let mut state = look::state(pid);
    let status = state.get_mut("status").unwrap();
    let lasting = status.lines().filter(|line| !line.starts_with("State:"));
    *status = lasting.collect::<Vec<_>>().join("\n");
    state
}

/// Links the program to a new path.
fn link(build: Build) -> (TempDir, PathBuf) {
    // A link, not a copy: a child that another test forks could
    // still hold the copy open for writing.
    let programs = tempdir_in(build.path().parent().unwrap()).unwrap();
    let program = programs.path().join("watched");
    fs::hard_link(build.path(), &program).unwrap();
    (programs, program)
}

/// Data that only the target itself may change.
#[derive(Debug, Eq, PartialEq)]
pub struct Facts {
    state: BTreeMap<String, u64>,
    descriptors: BTreeMap<String, String>,
    mappings: Vec<String>,
    /// All that the kernel reports about the target, if it has no agent,
    /// whose threads and memory come and go.
    whole: Option<BTreeMap<&'static str, String>>,
}

impl Watched {
    pub fn start(build: Build, kind: &str) -> Self {
        let (programs, program) = link(build);
        let directory = Arc::new(tempdir().unwrap());
        Self {
            target: Target::start_in(directory, &program, &["untouched", kind]),
            has_agent: true,
            program,
            _programs: programs,
        }
    }

    pub fn without_agent(build: Build, kind: &str) -> Self {
        let (programs, program) = link(build);
        let mut command = Command::new(&program);
        command.args(["untouched", kind]);
        let target = Target::without_agent(command);
        assert_eq!(target.ready(), target.pid);
        // Threads that have just started allocate memory.
        quiet(target.pid);
        Self {
            target,
            has_agent: false,
            program,
            _programs: programs,
        }
    }

    pub fn dump(&self) -> Stack {
        self.target.stack(&LOOK)
    }

    pub fn start_dump(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_rtops"))
            .args(["stack", &self.target.pid.to_string()])
            .args(LOOK)
            .env_clear()
            .env("RTOPS_DIR", self.target.directory())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts a dump, and returns it while its copy is alive.
    pub fn dump_in_the_middle(&self) -> Child {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let mut dump = self.start_dump();
            while dump.try_wait().unwrap().is_none() {
                if !self.copies().is_empty() {
                    return dump;
                }
            }
        }
        panic!("no dump has made a copy");
    }

    /// Returns processes that run the program or are children of the target, with their states.
    pub fn copies(&self) -> Vec<String> {
        let processes = procfs::process::all_processes().unwrap();
        let others = processes.flatten();
        let others = others.filter(|process| process.pid() != self.target.pid);
        let copies = others.filter_map(|process| {
            let stat = process.stat().ok()?;
            let runs_it = process.exe().is_ok_and(|program| program == self.program);
            let is_copy = runs_it || stat.ppid == self.target.pid;
            is_copy.then(|| format!("{} {} {}", stat.pid, stat.comm, stat.state))
        });
        copies.collect()
    }

    #[track_caller]
    pub fn expect_no_copy(&self) {
        assert_eq!(self.copies(), [""; 0]);
    }

    pub fn state(&self) -> BTreeMap<String, u64> {
        let state = self.target.command("state");
        let pairs = state
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
        pairs.collect()
    }

    pub fn facts(&self) -> Facts {
        Facts {
            state: self.state(),
            descriptors: self.descriptors(),
            mappings: self.mappings(),
            whole: (!self.has_agent).then(|| lasting_state(self.target.pid)),
        }
    }

    fn descriptors(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.target.pid)).unwrap();
        let links = entries.flatten().filter_map(|entry| {
            // The agent may be about to close the client's connection.
            let link = fs::read_link(entry.path()).ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, link.to_string_lossy().into_owned()))
        });
        links.collect()
    }

    /// Returns all mappings except private memory, which allocators and threads take and give back.
    fn mappings(&self) -> Vec<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.target.pid)).unwrap();
        let stays = |line: &&str| {
            let mut fields = line.split_whitespace();
            let permissions = fields.nth(1).unwrap();
            let name = fields.nth(3).unwrap_or_default();
            permissions.contains(['s', 'x']) || name.starts_with('/')
        };
        maps.lines().filter(stays).map(str::to_owned).collect()
    }

    /// Panics unless everything is as before, once the agent has closed the client's connection.
    #[track_caller]
    pub fn expect(&self, before: &Facts) {
        let end = Instant::now() + DEADLINE;
        while self.facts() != *before && Instant::now() < end {
            thread::yield_now();
        }
        assert_eq!(self.facts(), *before);
    }

    /// Panics unless the process's own polls are still counted, in its memory and in shared memory.
    pub fn expect_pokes_to_be_counted(&self, before: Facts) {
        let count = before.state["polls"];
        assert_eq!(before.state["shared"], count);
        assert_eq!(self.target.command("poke"), "poked");
        eventually("all tasks were polled once", || {
            self.state()["polls"] == 2 * count
        });
        let mut after = before;
        after.state.insert("polls".to_owned(), 2 * count);
        after.state.insert("shared".to_owned(), 2 * count);
        self.expect(&after);
    }
}
