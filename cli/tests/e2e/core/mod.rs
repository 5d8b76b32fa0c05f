//! Core files: every task that a process had, without an agent in it.

mod broken;
mod crashes;
mod versions;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    reply::Stack,
    source::Marks,
    support::{Build, Run, eventually, rtops},
    unwrapped::compare,
};

/// A program that runs in a directory of its own, where its core files go.
pub struct Victim {
    child: Child,
    directory: TempDir,
    commands: Option<std::process::ChildStdin>,
}

impl Victim {
    /// Starts it, and waits until it says that it is ready.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let directory = tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments)
            .env_clear()
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready"), "it said {line:?}");
        Self {
            commands: child.stdin.take(),
            child,
            directory,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it by a signal; the core file that the kernel writes.
    pub fn dump(&mut self) -> Option<PathBuf> {
        kill(Pid::from_raw(self.pid()), Signal::SIGABRT).unwrap();
        self.died()
    }

    /// Waits until it has died; the core file that the kernel wrote. `None` where the kernel puts it
    /// elsewhere, which only the machine's administrator can change.
    pub fn died(&mut self) -> Option<PathBuf> {
        eventually("it dies", || self.child.try_wait().unwrap().is_some());
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

    /// What `gcore` writes of it, while it lives.
    pub fn gcore(&self) -> PathBuf {
        let prefix = self.directory().join("gcore");
        let output = Command::new("gcore")
            .arg("-o")
            .arg(&prefix)
            .arg(self.pid().to_string())
            .stdin(Stdio::null())
            .output()
            .expect("gcore, of the package gdb");
        let core = self.directory().join(format!("gcore.{}", self.pid()));
        assert!(core.exists(), "{output:?}");
        core
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `rtops COMMAND --core FILE` prints.
pub fn of_core(command: &[&str], core: &Path, arguments: &[&str]) -> Run {
    let core = ["--core", core.to_str().unwrap(), "--timeout=60s"];
    let core = if command == ["version"] {
        &core[..2]
    } else {
        &core[..]
    };
    rtops(None, &[command, core, arguments].concat())
}

pub fn stack(core: &Path, arguments: &[&str]) -> Stack {
    let run = of_core(&["stack", "--json"], core, arguments).success();
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

pub fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// How a core file is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Writer {
    Kernel,
    Gcore,
}

#[test]
fn of_a_release_build_on_workers() {
    expect_awaits(Build::Release, "multi", Writer::Kernel, &[]);
}

#[test]
fn of_a_release_build_on_one_thread() {
    expect_awaits(Build::Release, "current", Writer::Kernel, &[]);
}

#[test]
fn of_a_release_build_in_a_local_set() {
    expect_awaits(Build::Release, "local", Writer::Kernel, &[]);
}

#[test]
fn of_a_dev_build_on_workers() {
    expect_awaits(Build::Dev, "multi", Writer::Kernel, &[]);
}

#[test]
fn of_a_dev_build_on_one_thread() {
    expect_awaits(Build::Dev, "current", Writer::Kernel, &[]);
}

#[test]
fn of_a_process_that_lives_on() {
    expect_awaits(Build::Release, "multi", Writer::Gcore, &[]);
}

#[test]
fn with_fat_lto() {
    expect_awaits(Build::LtoFat, "multi", Writer::Kernel, &[]);
}

#[test]
fn with_abort_on_panic() {
    expect_awaits(Build::Abort, "multi", Writer::Kernel, &[]);
}

#[test]
fn of_a_program_at_a_fixed_address() {
    expect_awaits(Build::NonPie, "multi", Writer::Kernel, &[]);
}

#[test]
fn with_jemalloc() {
    expect_awaits(Build::Jemalloc, "multi", Writer::Kernel, &[]);
}

#[test]
fn of_a_stripped_program_with_the_symbols_elsewhere() {
    let symbols = Build::Release.path().parent().unwrap();
    let symbols = format!("--symbols={}", symbols.display());
    expect_awaits(Build::Stripped, "multi", Writer::Kernel, &[&symbols]);
}

fn expect_awaits(build: Build, executor: &str, writer: Writer, arguments: &[&str]) {
    let marks = Marks::read();
    let mut victim = Victim::start(build.path(), &["unwrapped", executor]);
    let core = match writer {
        Writer::Kernel => victim.dump(),
        Writer::Gcore => Some(victim.gcore()),
    };
    let Some(core) = core else { return };
    let stack = stack(&core, &[&["--tasks"], arguments].concat());
    // A stripped program is the release build without its symbols.
    let build = if build == Build::Stripped {
        Build::Release
    } else {
        build
    };
    compare(&marks, &stack, build).expect_right();
}

#[test]
fn a_saved_dump_says_what_the_core_file_said() {
    let mut victim = Victim::start(Build::Release.path(), &["unwrapped", "multi"]);
    let Some(core) = victim.dump() else { return };
    let saved = victim.directory().join("saved");
    let saved = saved.to_str().unwrap();
    let symbols = Build::Release.path().parent().unwrap().to_str().unwrap();
    let options = ["--tasks", "--save", saved];
    let of_core = of_core(&["stack"], &core, &options).success();
    let again = rtops(
        None,
        &["stack", "--tasks", "--from", saved, "--symbols", symbols],
    );
    assert_eq!(
        own_lines(&of_core.success().stdout),
        own_lines(&again.success().stdout)
    );
}

/// The lines of the target's own code.
fn own_lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("crates/targets/src/"))
        .collect()
}

#[test]
fn other_commands_read_core_files_too() {
    let mut victim = Victim::start(Build::Release.path(), &["unwrapped", "multi"]);
    let pid = victim.pid();
    let Some(core) = victim.dump() else { return };
    let stats = json(&of_core(&["stats"], &core, &["--json"]).success());
    assert_eq!(stats["core"]["pid"], pid, "{stats:#}");
    assert_eq!(stats["core"]["signal"]["name"], "SIGABRT", "{stats:#}");
    assert!(
        stats["untracked"]["tasks"].as_u64().unwrap() >= 60,
        "{stats:#}"
    );
    let version = json(&of_core(&["version"], &core, &["--json"]).success());
    assert_eq!(version["process"]["pid"], pid, "{version:#}");
    let leaks = of_core(&["leaks"], &core, &[]).success();
    assert!(leaks.stdout.contains("proven: "), "{leaks}");
    let profile = of_core(&["profile", "tasks"], &core, &["--debug=1"]).success();
    assert!(
        profile.stdout.starts_with("goroutine profile: total "),
        "{profile}"
    );
}

#[test]
fn a_name_without_a_core_file_is_said_to_have_none() {
    let run = rtops(None, &["stack", "--core", "no-such-program"]).exits(3);
    assert!(
        run.stderr.contains("no-such-program") && run.stderr.contains("coredumpctl"),
        "{run}"
    );
    let run = rtops(None, &["stack", "--core", "/proc/self/exe"]).exits(1);
    assert!(run.stderr.contains("no core file"), "{run}");
}
