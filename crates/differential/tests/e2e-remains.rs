//! No process remains after a comparison, however it ends.

mod common;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio, id},
    thread,
    time::{Duration, Instant},
};

use common::{DEADLINE, dump};
use rtops_cells::Polls;
use rtops_differential::{compare, compare_with};
use rtops_emulate::{Absent, Access, Page, Source};

const COMMAND: &str = env!("CARGO_BIN_EXE_rtops-differential");
const PROGRAM: &str = env!("CARGO_BIN_EXE_rtops-differential-program");

/// Memory that fails when it is read.
struct Failing;

impl Source for Failing {
    fn page(&self, _: u64, _: &mut Page) -> Result<Access, Absent> {
        panic!("a failure in the middle");
    }
}

/// Returns the children of a process, including those not yet reaped.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Returns the state and the parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?.chars().next()?;
    Some((state, words.next()?.parse().ok()?))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_process_remains() {
    let dump = dump(PROGRAM, &["current"]);
    compare(&dump.core, 3).expect("an image");
    assert_eq!(children(id()), [], "after the end");

    let polls = Polls::of(&dump.core).expect("tasks");
    let failed = catch_unwind(AssertUnwindSafe(|| {
        drop(compare_with(&dump.core, &polls, &Failing, 3));
    }));
    assert!(failed.is_err());
    assert_eq!(children(id()), [], "after a failure");

    let mut command = Command::new(COMMAND)
        .arg(&dump.path)
        .stdout(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut traced = Vec::new();
    // One process has the memory, and another one runs.
    wait_until("two processes", || {
        traced = children(command.id());
        traced.len() == 2
    });
    command.kill().expect("it runs");
    command.wait().expect("it ends");
    let has_ended = |pid: &u32| stat(*pid).is_none_or(|(state, _)| state == 'Z');
    wait_until("they end", || traced.iter().all(has_ended));
}
