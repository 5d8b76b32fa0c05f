//! Programs, and their cores.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rtops_image::Core;
use tempfile::{TempDir, tempdir};

/// The deadline for what should take a moment, on a machine that does other things, too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How many checks in a row must find all threads asleep, before they are taken to wait.
const QUIET_LOOKS: u32 = 10;

/// A core of a program, in a directory that is removed with it.
pub struct Dump {
    pub core: Core,
    pub path: PathBuf,
    /// What the program printed after `ready`.
    pub ready: String,
    _directory: TempDir,
}

/// Starts a program, waits until it is ready, and takes a core.
pub fn dump(program: &str, arguments: &[&str]) -> Dump {
    let directory = tempdir().expect("a directory");
    let (running, ready) = Running::start(program, arguments, directory.path());
    let path = running.die(directory.path());
    Dump {
        core: Core::open(&path, &rtops_image::Options::default()).expect("a core"),
        path,
        ready,
        _directory: directory,
    }
}

/// A program that runs.
pub struct Running(Child);

impl Running {
    /// Starts a program in a directory, waits until it is ready, and returns what it printed, too.
    pub fn start(program: &str, arguments: &[&str], directory: &Path) -> (Self, String) {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut running = Self(child);
        let ready = running.ready();
        running.settle();
        (running, ready)
    }

    pub fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Stops it until it ends.
    pub fn freeze(&self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGSTOP).expect("it runs");
        let end = Instant::now() + DEADLINE;
        while !self.all_are('T') {
            assert!(Instant::now() < end, "a thread goes on and on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes gdb write a core of it, and leave it as it is.
    pub fn gcore(&self, directory: &Path) -> PathBuf {
        let prefix = directory.join("core");
        let output = Command::new("gcore")
            .arg("-o")
            .arg(&prefix)
            .arg(self.pid().to_string())
            .output()
            .expect("this test needs gcore: install gdb");
        assert!(output.status.success(), "gcore failed: {output:?}");
        directory.join(format!("core.{}", self.pid()))
    }

    fn ready(&mut self) -> String {
        let output = BufReader::new(self.0.stdout.take().expect("its output"));
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(rest) = line.strip_prefix("ready ") {
                    sender.send(rest.to_owned()).ok();
                }
            }
        });
        receiver
            .recv_timeout(DEADLINE)
            .expect("it says that it is ready")
    }

    /// Waits until all threads wait: the one that printed `ready` may still be in its poll.
    /// One check is not atomic: a thread that slept may be woken by one that is checked
    /// later, and asleep by then.
    fn settle(&self) {
        let end = Instant::now() + DEADLINE;
        let mut quiet_looks = 0;
        while quiet_looks < QUIET_LOOKS {
            assert!(Instant::now() < end, "a thread goes on and on");
            quiet_looks = if self.all_are('S') {
                quiet_looks + 1
            } else {
                0
            };
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns whether this is the state of all threads.
    pub fn all_are(&self, state: char) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        threads.map_while(Result::ok).all(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with(state))
        })
    }

    /// Ends it by a signal for which the kernel writes a core. If that would go
    /// elsewhere, gdb writes one first.
    fn die(mut self, directory: &Path) -> PathBuf {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux");
        if pattern.starts_with(['|', '/', '@']) {
            self.gcore(directory);
        }
        kill(Pid::from_raw(self.pid()), Signal::SIGABRT).expect("it runs");
        self.0.wait().expect("it ends");
        let files = fs::read_dir(directory).expect("its directory");
        let mut paths = files.map(|entry| entry.expect("a file").path());
        paths
            .find(|path| is_core(path))
            .unwrap_or_else(|| panic!("no core in {}", directory.display()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_core(path: &Path) -> bool {
    let mut head = [0; 18];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut head, 0));
    read.is_ok() && head.starts_with(b"\x7fELF") && head[16..] == [4, 0]
}
