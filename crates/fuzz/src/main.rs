//! Changes files at random and reads each, until one harms the reader. A change that reaches code
//! that none reached before is kept, and changed further.
//!
//! `rtops-fuzz RUNS`: the last file that was read is `target/fuzz-last`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod coverage;
#[path = "../../elf/tests/common/forge.rs"]
#[allow(dead_code)]
mod forge;
#[path = "../../elf/tests/common/look.rs"]
mod look;
mod mutate;

use std::{
    env, fs,
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use coverage::Coverage;
use mutate::Random;
use rtops_elf::{Budget, Limits};

/// The maximum length of a file, in bytes; longer files take longer, and are no worse.
const LONGEST: usize = 16 << 10;
/// What a file may cost: little, so that many can be read.
const LIMITS: Limits = Limits {
    bytes: 6 << 20,
    symbols: 1 << 16,
    units: 1 << 12,
    steps: 1 << 16,
    ranges: 1 << 16,
    rows: 1 << 16,
    files: 1 << 12,
    names: 1 << 20,
    depth: 32,
    time: Duration::from_secs(10),
};

fn main() {
    let runs = env::args()
        .nth(1)
        .map_or(5_000, |runs| runs.parse().unwrap());
    let mut corpus = seeds();
    let mut coverage = Coverage::default();
    for seed in &corpus {
        run(seed);
        coverage.grows();
    }
    println!("{} seeds reach {} places", corpus.len(), coverage.size());
    let mut random = Random::new(0x5eed);
    for _ in 0..runs {
        let mut bytes = corpus.get(random.below(corpus.len())).unwrap().clone();
        let other = corpus.get(random.below(corpus.len())).unwrap();
        mutate::change(&mut bytes, other, &mut random);
        bytes.truncate(LONGEST);
        run(&bytes);
        if coverage.grows() {
            corpus.push(bytes);
        }
    }
    println!(
        "{runs} more files reach {} places, {} of them kept",
        coverage.size(),
        corpus.len()
    );
}

/// Returns the files that are checked in, and small generated ones.
fn seeds() -> Vec<Vec<u8>> {
    let attacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../elf/tests/attacks");
    let mut paths: Vec<_> = fs::read_dir(attacks)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    seeds.extend([
        forge::plain(),
        forge::circular_names(),
        forge::empty_files(),
        forge::lying_sections(5),
        forge::overlapping(),
        forge::sparse_note(1 << 20),
    ]);
    seeds.retain(|seed| seed.len() <= LONGEST);
    seeds
}

/// Reads a file, which is kept so that a harmful one can be examined.
fn run(bytes: &[u8]) {
    let last = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-last");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(last)
        .unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    look::look(file, &Arc::new(Budget::new(LIMITS)), 40);
}
