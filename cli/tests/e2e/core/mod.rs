//! Core files: every task that a process had, without an agent.

pub mod block_on;
mod broken;
mod crashes;
pub mod forms;
pub mod packages;
mod redis;
pub mod versions;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    every_build::unwrapped::compare,
    reply::Stack,
    source::Marks,
    support::{Build, Run, rtops},
    victim::Victim,
};

/// Runs `rtops COMMAND --core FILE`.
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
    run.json()
}

/// Writes a core file with `gcore` in this directory, and returns its path.
pub fn gcore(pid: i32, directory: &Path) -> PathBuf {
    let output = Command::new("gcore")
        .arg("-o")
        .arg(directory.join("gcore"))
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("gcore, of the package gdb");
    let core = directory.join(format!("gcore.{pid}"));
    assert!(core.exists(), "{output:?}");
    core
}

/// The writer of a core file.
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
    let mut victim = Victim::start(build.path(), &["unwrapped", executor]).quiet();
    let core = match writer {
        Writer::Kernel => victim.dump(),
        Writer::Gcore => Some(gcore(victim.pid(), victim.directory())),
    };
    let Some(core) = core else { return };
    let stack = stack(&core, &[&["--tasks"], arguments].concat());
    // A stripped program is the release build without symbols.
    let build = if build == Build::Stripped {
        Build::Release
    } else {
        build
    };
    compare(&marks, &stack, build).expect_right();
}

#[test]
fn a_saved_dump_says_what_the_core_file_said() {
    let mut victim = Victim::start(Build::Release.path(), &["unwrapped", "multi"]).quiet();
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

/// Returns the lines about the target's own code.
fn own_lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("crates/testbed/src/"))
        .collect()
}

#[test]
fn other_commands_read_core_files_too() {
    let mut victim = Victim::start(Build::Release.path(), &["unwrapped", "multi"]).quiet();
    let pid = victim.pid();
    let Some(core) = victim.dump() else { return };
    let stats: Value = of_core(&["stats"], &core, &["--json"]).success().json();
    assert_eq!(stats["core"]["pid"], pid, "{stats:#}");
    assert_eq!(stats["core"]["signal"]["name"], "SIGABRT", "{stats:#}");
    assert!(
        stats["tasks"]["untracked"].as_u64().unwrap() >= 60,
        "{stats:#}"
    );
    let version: Value = of_core(&["version"], &core, &["--json"]).success().json();
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
