//! Starts and ends programs of the testbed, and asks `rtops` about them.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::de::DeserializeOwned;
use tempfile::{TempDir, tempdir, tempfile};

use super::reply::Stack;
pub use crate::build::Build;

/// How long to wait for what should take a moment, on a machine
/// that is also busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running target. It is killed on drop, and its log is printed if the test failed.
pub struct Target {
    pub pid: i32,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    directory: Arc<TempDir>,
    log: File,
}

impl Target {
    /// Starts a scenario with a new socket directory, and waits until it is ready.
    pub fn start(build: Build, scenario: &[&str]) -> Self {
        Self::start_in(Arc::new(tempdir().unwrap()), build.path(), scenario)
    }

    /// Starts another scenario with the same socket directory.
    pub fn start_beside(&self, build: Build, scenario: &[&str]) -> Self {
        Self::start_in(Arc::clone(&self.directory), build.path(), scenario)
    }

    /// Starts this program with this socket directory.
    pub fn start_in(directory: Arc<TempDir>, program: &Path, scenario: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(scenario)
            .env_clear()
            .env("RTOPS_DIR", directory.path());
        let target = Self::spawn(command, directory);
        assert_eq!(target.ready(), target.pid);
        target
    }

    /// Starts a target that has never heard of rtops, without waiting for it.
    pub fn without_agent(mut command: Command) -> Self {
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("WITHOUT_AGENT", "yes");
        // The directory that would have its sockets stays empty.
        Self::spawn(command, Arc::new(tempdir().unwrap()))
    }

    /// Starts three tasks whose agent is not allowed to start, and waits until they are ready.
    pub fn disabled(mut command: Command) -> Self {
        let directory = Arc::new(tempdir().unwrap());
        command
            .args(["herd", "3"])
            .env_clear()
            .env("RTOPS_DIR", directory.path())
            .env("RTOPS_DISABLE", "1")
            .current_dir("/");
        let target = Self::spawn(command, directory);
        assert_eq!(target.ready(), target.pid);
        target
    }

    /// Starts a target without waiting for it.
    pub fn spawn(mut command: Command, directory: Arc<TempDir>) -> Self {
        let log = tempfile().unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, answers) = channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            pid: child.id().try_into().unwrap(),
            commands: child.stdin.take(),
            child,
            answers,
            directory,
            log,
        }
    }

    /// Waits until the target is ready, and returns the process id that the target sees.
    pub fn ready(&self) -> i32 {
        let line = self.answer();
        let pid = line.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        pid.unwrap_or_else(|| panic!("the target said {line:?}"))
    }

    /// Sends the target a command, and returns its answer.
    pub fn command(&self, command: &str) -> String {
        let mut commands = self.commands.as_ref().unwrap();
        writeln!(commands, "{command}").unwrap();
        self.answer()
    }

    /// Waits until the target's count of what it does has grown.
    pub fn expect_progress(&self) {
        let count = || self.command("check").parse::<u64>().unwrap();
        let before = count();
        eventually("the target goes on", || count() > before);
    }

    fn answer(&self) -> String {
        self.answers
            .recv_timeout(DEADLINE)
            .expect("the target answers")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `rtops` with this target's socket directory.
    pub fn rtops(&self, arguments: &[&str]) -> Run {
        rtops(Some(self.directory()), arguments)
    }

    /// Returns the text output of `rtops stack PID`.
    pub fn stack_text(&self, arguments: &[&str]) -> String {
        self.stack_run(arguments).success().stdout
    }

    /// Returns the output of `rtops stack PID --json`.
    pub fn stack(&self, arguments: &[&str]) -> Stack {
        let run = self.stack_run(&[&["--json"], arguments].concat()).success();
        run.json()
    }

    fn stack_run(&self, arguments: &[&str]) -> Run {
        let pid = self.pid.to_string();
        self.rtops(&[&["stack", &pid, "--timeout=60s"], arguments].concat())
    }

    /// Returns what the target has written to its standard error so far.
    pub fn log(&self) -> String {
        let mut log = vec![0; 1 << 20];
        // Reads from the start, not from the file offset, which is shared with the target.
        let length = self.log.read_at(&mut log, 0).unwrap();
        String::from_utf8_lossy(&log[..length]).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) {
        eventually("the target ends", || {
            self.child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.commands.take());
        let end = Instant::now() + DEADLINE;
        // A failed test does not wait.
        while !thread::panicking() && Instant::now() < end {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            thread::sleep(POLL);
        }
        self.child.kill().ok();
        self.child.wait().ok();
        eprintln!("target {} was killed; it said: {}", self.pid, self.log());
    }
}

/// The result of a run of `rtops`.
#[derive(Debug)]
pub struct Run {
    command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command, and kills it if it takes too long.
    pub fn of(command: Command) -> Self {
        let shown = format!("{command:?}");
        let output = assert_cmd::Command::from_std(command)
            .timeout(2 * DEADLINE)
            .output()
            .unwrap();
        Self {
            command: shown,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Panics unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Panics unless the exit code is 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Parses the standard output as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command} ended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// Runs `rtops` with only this socket directory in its environment, and a cache of symbols that all
/// tests share, as all commands of a user do.
pub fn rtops(directory: Option<&Path>, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command.args(arguments).env_clear();
    command.env(
        "XDG_CACHE_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/caches"),
    );
    if stops_a_process(arguments) {
        command.arg("--max-pause=10s");
    }
    if let Some(directory) = directory {
        command.env("RTOPS_DIR", directory);
    }
    Run::of(command)
}

/// Returns whether a command stops a process and sets no limit for that. Other tests keep the
/// machine busy, so it can take longer than a service should be stopped.
fn stops_a_process(arguments: &[&str]) -> bool {
    let looks = ["stack", "leaks", "stats", "profile"];
    let is_it = |argument: &&&str| looks.contains(*argument);
    let says = ["--max-pause", "--core", "--watch", "--help"];
    let is_said = |argument: &&str| says.iter().any(|option| argument.starts_with(option));
    arguments.first().filter(is_it).is_some() && !arguments.iter().any(is_said)
}

/// Copies a program in another process: a file that a child of this process has open for writing,
/// even if only between fork and exec, can't be executed.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

const POLL: Duration = Duration::from_millis(10);

/// Waits for a condition.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "within {DEADLINE:?}: {what}");
        thread::sleep(POLL);
    }
}

/// In how many looks in a row all threads must sleep to count as waiting.
const QUIET_LOOKS: u32 = 10;

/// Waits until all threads of a process sleep and keep sleeping.
#[track_caller]
pub fn quiet(pid: i32) {
    let mut quiet_looks = 0;
    eventually("all its threads sleep", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.flatten().map(|thread| thread.path().join("stat"));
        let sleeps = |stat: PathBuf| {
            let stat = fs::read_to_string(stat).unwrap_or_default();
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('S'))
        };
        quiet_looks = if threads.all(sleeps) {
            quiet_looks + 1
        } else {
            0
        };
        quiet_looks == QUIET_LOOKS
    });
}
