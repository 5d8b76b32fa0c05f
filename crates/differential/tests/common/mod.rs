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

/// For what should take a moment, on a machine that does other things, too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A core of a program, in a directory that is removed with it.
pub struct Dump {
    pub core: Core,
    pub path: PathBuf,
    /// What the program said behind `ready`.
    pub ready: String,
    _directory: TempDir,
}

/// Starts a program, waits until it is ready, and takes a core.
pub fn dump(program: &str, arguments: &[&str]) -> Dump {
    let directory = tempdir().expect("a directory");
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut running = Running(child);
    let ready = running.ready();
    running.settle();
    let path = running.die(directory.path());
    Dump {
        core: Core::open(&path, &rtops_image::Options::default()).expect("a core"),
        path,
        ready,
        _directory: directory,
    }
}

struct Running(Child);

impl Running {
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

    /// Waits until all threads do: what said that it is ready may not be back from its poll.
    fn settle(&self) {
        let end = Instant::now() + DEADLINE;
        while !self.all_sleep() {
            assert!(Instant::now() < end, "a thread goes on and on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn all_sleep(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        threads.map_while(Result::ok).all(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('S'))
        })
    }

    /// Ends it by a signal, for which the kernel writes a core; where that goes elsewhere, gdb writes one
    /// before.
    fn die(mut self, directory: &Path) -> PathBuf {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux");
        if pattern.starts_with(['|', '/', '@']) {
            let output = Command::new("gcore")
                .arg("-o")
                .arg(directory.join("core"))
                .arg(self.0.id().to_string())
                .output()
                .expect("this test needs gcore: install gdb, or set kernel.core_pattern to `core`");
            assert!(output.status.success(), "gcore failed: {output:?}");
        }
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGABRT).expect("it runs");
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
        // It may have ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_core(path: &Path) -> bool {
    let mut head = [0; 18];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut head, 0));
    read.is_ok() && head.starts_with(b"\x7fELF") && head[16..] == [4, 0]
}
