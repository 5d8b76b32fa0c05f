//! Every kind of await of untracked tasks, on each kind of runtime.

use std::collections::BTreeMap;

use crate::{
    BUILD,
    reply::Stack,
    source::Marks,
    support::{Build, Target},
    verdict::{Expected, Verdict},
};

/// The folders with the awaits, and the file with the code around each await.
const FOLDERS: &[&str] = &["testbed/src/awaits/", "testbed/src/unwrapped/"];
const AROUND: &str = "testbed/src/awaits/mod.rs";

/// When these tasks are polled again, no instruction of the marked line need run.
const UNRESOLVED: &[&str] = &["pending-among-several", "pending-deep", "poll-fn-lost"];

/// These exist only where tasks are tracked.
const TRACKED_ONLY: &[&str] = &["child", "span", "tracked-children"];

#[test]
fn on_workers() {
    expect_awaits(BUILD, "multi");
}

#[test]
fn on_one_thread() {
    expect_awaits(BUILD, "current");
}

#[test]
fn in_a_local_set() {
    expect_awaits(BUILD, "local");
}

pub fn expect_awaits(build: Build, executor: &str) {
    let marks = Marks::read();
    let target = Target::start(build, &["unwrapped", executor]);
    let stack = target.stack(&["--tasks"]);
    compare(&marks, &stack, build).expect_right();
    assert!(stack.complete, "{:?}", stack.gaps);
}

pub fn compare<'a>(marks: &'a Marks, stack: &Stack, build: Build) -> Verdict<'a> {
    let mut expected = ways(marks);
    for name in build.lacks() {
        expected.remove(name);
    }
    let expected = Expected {
        marks,
        folders: FOLDERS,
        around: AROUND,
        names: expected,
        may_be_unresolved: UNRESOLVED,
        has_libraries: false,
    };
    expected.compare(stack)
}

/// Returns each way to wait with its count, which is 1.
pub fn ways(marks: &Marks) -> BTreeMap<&str, usize> {
    let names = FOLDERS.iter().flat_map(|folder| marks.names_in(folder));
    let names = names.filter(|name| !TRACKED_ONLY.contains(name));
    names.map(|name| (name, 1)).collect()
}
