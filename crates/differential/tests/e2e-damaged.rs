//! Damaged memory: links that lead in a circle, and arbitrary words. Whatever it holds, the inventory
//! ends, and takes no more than it is given.

mod common;

use std::{
    fs,
    time::{Duration, Instant},
};

use common::dump;
use rtops_cells::{Inventory, Options};
use rtops_image::Core;
use tempfile::tempdir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rtops-differential-program");
const TARGETS: &str = env!("CARGO_BIN_EXE_rtops-differential-targets");

/// How often a core is damaged in each way.
const ROUNDS: u64 = 12;
/// The time after which no further poll begins.
const PATIENCE: Duration = Duration::from_secs(5);

/// Random numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).expect("64 bits") % limit.max(1)
    }
}

/// The words of a core file's memory.
struct Words(Vec<u64>);

impl Words {
    fn of(file: &[u8]) -> Self {
        let words = file.as_chunks().0.iter();
        Self(words.map(|word| u64::from_le_bytes(*word)).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Surveys a core whose words after the notes were changed.
fn inventory(words: &Words) -> Inventory {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("core");
    fs::write(&path, words.bytes()).expect("space");
    let core = Core::open(&path, &rtops_image::Options::default()).expect("its head is whole");
    let options = Options {
        until: Instant::now().checked_add(PATIENCE),
        ..Options::default()
    };
    Inventory::take(&core, options).expect("its memory can be read")
}

/// Returns where memory begins in a core file, in words: after the notes, which come first.
fn memory(file: &[u8]) -> usize {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let headers = usize::try_from(word(32)).expect("a place");
    let (offset, size) = (word(headers + 8), word(headers + 32));
    usize::try_from((offset + size).div_ceil(4096) * 512).expect("a place")
}

#[test]
fn links_that_lead_anywhere_end() {
    let dump = dump(TARGETS, &["plain-herd", "300"]);
    let file = fs::read(&dump.path).expect("the core");
    let whole = Inventory::take(&dump.core, Options::default()).expect("tasks");
    let cells: Vec<u64> = whole.tasks.iter().map(|task| task.cell).collect();
    assert!(cells.len() >= 300);
    let first = memory(&file);
    let mut numbers = Numbers(1);
    for round in 0..ROUNDS {
        let mut words = Words::of(&file);
        // One in this many words that lead to a task leads to another one, maybe to the same.
        let one_in = 1 + usize::try_from(round).expect("few") * 3;
        for word in words.0.iter_mut().skip(first) {
            if cells.contains(word) && numbers.below(one_in) == 0 {
                *word = cells[numbers.below(cells.len())];
            }
        }
        let inventory = inventory(&words);
        assert!(
            inventory.tasks.len() <= cells.len(),
            "{} tasks",
            inventory.tasks.len()
        );
    }
}

#[test]
fn words_that_are_anything_end() {
    let dump = dump(PROGRAM, &["multi"]);
    let file = fs::read(&dump.path).expect("the core");
    let first = memory(&file);
    let mut numbers = Numbers(2);
    for round in 0..ROUNDS {
        let mut words = Words::of(&file);
        let length = words.0.len();
        for _ in 0..10_usize << round {
            let at = first + numbers.below(length - first);
            words.0[at] = match numbers.below(4) {
                0 => 0,
                1 => u64::MAX >> numbers.below(64),
                2 => numbers.next(),
                _ => words.0[first + numbers.below(length - first)],
            };
        }
        // It is enough that this returns.
        inventory(&words);
    }
}
