//! All polls of real programs are the same in the interpreter and on the processor.

mod common;

use std::collections::BTreeMap;

use common::dump;
use rtops_cells::{Inventory, Options, Polls};
use rtops_differential::{Comparison, compare, compare_with};
use rtops_emulate::{Absent, Access, PAGE_SIZE, Page, Source};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rtops-differential-program");
const TARGETS: &str = env!("CARGO_BIN_EXE_rtops-differential-targets");

/// All tasks.
const ALL: usize = usize::MAX;

fn check_program(runtime: &str) {
    let dump = dump(PROGRAM, &[runtime]);
    let comparison = compare(&dump.core, ALL).expect("an image");
    assert!(comparison.differences.is_empty(), "{comparison}");
    assert_eq!(comparison.polls.to_string(), dump.ready, "{comparison}");
    assert!(comparison.resumed > 0, "{comparison}");
    // Each ends as it should.
    let expected = ["endless", "exit", "locked", "panic", "ready"];
    let expected = expected.map(|why| (why.to_owned(), 1));
    let expected = BTreeMap::from(expected);
    assert_eq!(comparison.unresolved, expected, "{comparison}");
}

#[test]
fn optimized_code_on_workers() {
    check_program("multi");
}

#[test]
fn optimized_code_on_one_thread() {
    check_program("current");
}

fn check_targets(arguments: &[&str]) -> Comparison {
    let dump = dump(TARGETS, arguments);
    let comparison = compare(&dump.core, ALL).expect("an image");
    assert!(comparison.differences.is_empty(), "{comparison}");
    // Every task waits. A resumed thread may end, as the agent's does.
    for why in comparison.unresolved.keys() {
        assert_eq!(why, "exit of a thread", "{comparison}");
    }
    comparison
}

#[test]
fn all_ways_to_wait_on_workers() {
    let comparison = check_targets(&["unwrapped", "multi"]);
    assert!(comparison.polls > 60, "{comparison}");
}

#[test]
fn all_ways_to_wait_on_one_thread() {
    let comparison = check_targets(&["unwrapped", "current"]);
    assert!(comparison.polls > 60, "{comparison}");
}

#[test]
fn all_ways_to_wait_in_a_local_set() {
    let comparison = check_targets(&["unwrapped", "local"]);
    assert!(comparison.polls > 60, "{comparison}");
}

#[test]
fn a_herd() {
    let comparison = check_targets(&["plain-herd", "60"]);
    assert_eq!(comparison.polls, 60, "{comparison}");
}

/// Memory with a few bytes changed.
struct Changed<S> {
    memory: S,
    at: u64,
    bytes: &'static [u8],
}

impl<S: Source> Source for Changed<S> {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        let access = self.memory.page(address, into)?;
        for (at, byte) in (self.at..).zip(self.bytes) {
            if (address..address + PAGE_SIZE as u64).contains(&at) {
                into[(at - address) as usize] = *byte;
            }
        }
        Ok(access)
    }
}

#[test]
fn what_differs_is_found_where_it_does() {
    let dump = dump(TARGETS, &["plain-herd", "3"]);
    let options = Options {
        trees: false,
        ..Options::default()
    };
    let inventory = Inventory::take(&dump.core, options).expect("tasks");
    let polls = Polls::of(&dump.core).expect("tasks");
    let first = polls.waiting()[0];
    // Only the processor has other code there: mov eax, 1; ret.
    let changed = |bytes| Changed {
        memory: polls.memory(),
        at: inventory.tasks[first].poll,
        bytes,
    };
    let code = changed(&[0xb8, 1, 0, 0, 0, 0xc3]);
    let comparison = compare_with(&dump.core, &polls, &code, 1).expect("an image");
    let text = comparison.to_string();
    let parts = [
        format!("task {first}: after 1 instructions"),
        format!("{:#x} (rtops-differential-targets+0x", code.at),
        "[b8, 01, 00, 00, 00] mov eax,1".to_owned(),
        "rax: processor 0x1, interpreter 0x0".to_owned(),
        "rip: processor".to_owned(),
    ];
    for part in parts {
        assert!(text.contains(&part), "no {part:?} in {text}");
    }
    // The next task in a queue, which a poll does not look at: only memory differs.
    let word = Changed {
        at: inventory.tasks[first].cell + 8,
        bytes: &[0xaa],
        ..changed(&[])
    };
    let comparison = compare_with(&dump.core, &polls, &word, 1).expect("an image");
    let text = comparison.to_string();
    let part = format!("{:#x}: processor [aa, ", word.at);
    assert!(text.contains("memory differ at the end"), "{text}");
    assert!(text.contains(&part), "no {part:?} in {text}");
}
