//! Programs that leave core files.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::{TempDir, tempdir};

use super::support::{eventually, quiet};

/// A program that runs in a new directory, where its core files are written.
pub struct Victim {
    child: Child,
    directory: TempDir,
    /// The text that it printed after `ready`.
    said: String,
    commands: Option<ChildStdin>,
}

impl Victim {
    /// Starts a program, and waits until it prints that it is ready.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let directory = tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("WITHOUT_AGENT", "yes")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let said = line.strip_prefix("ready");
        let said = said.unwrap_or_else(|| panic!("it said {line:?}"));
        Self {
            commands: child.stdin.take(),
            said: said.trim().to_owned(),
            child,
            directory,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn said(&self) -> &str {
        &self.said
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until all its threads sleep and keep sleeping.
    pub fn quiet(self) -> Self {
        quiet(self.pid());
        self
    }

    /// Waits until its main thread is parked inside `block_on`.
    pub fn parked(self) -> Self {
        eventually("its main thread is parked", || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid()));
            let number = call.unwrap_or_default();
            let number = number
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok());
            number == Some(nix::libc::SYS_futex)
        });
        self
    }

    /// Kills it by a signal, and returns the core file that the kernel writes.
    pub fn dump(&mut self) -> Option<PathBuf> {
        kill(Pid::from_raw(self.pid()), Signal::SIGABRT).unwrap();
        self.died()
    }

    /// Sends the line that the program waits for.
    pub fn go(&mut self) {
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(b"\n").unwrap();
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until it has died, and returns the core file that the kernel wrote, or `None` if the
    /// kernel writes core files elsewhere, which only the machine's administrator can change.
    pub fn died(&mut self) -> Option<PathBuf> {
        self.ended();
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        if pattern.starts_with(['|', '/', '@']) {
            eprintln!("skipped: kernel.core_pattern does not put cores beside the process");
            return None;
        }
        let files = fs::read_dir(self.directory()).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let is_core = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b"core")
        };
        Some(files.find(is_core).expect("the kernel wrote a core file"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
