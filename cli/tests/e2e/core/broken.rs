//! Core files that are truncated, lie, or lack the files that belong to them.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use serde_json::Value;

use super::{Victim, of_core, packages};

/// Returns a core file of the service with ten tasks.
fn core() -> Option<(Victim, std::path::PathBuf)> {
    let mut victim = Victim::start(packages::newest(), &["ten"]).parked();
    let core = victim.dump()?;
    Some((victim, core))
}

#[test]
fn one_that_is_cut_still_lists_its_tasks() {
    let Some((_victim, core)) = core() else {
        return;
    };
    let length = fs::metadata(&core).unwrap().len();
    for percent in [90, 60, 40] {
        File::options()
            .write(true)
            .open(&core)
            .unwrap()
            .set_len(length * percent / 100)
            .unwrap();
        let run = of_core(&["stats"], &core, &["--json"]).exits(6);
        assert_eq!(
            run.json::<Value>()["tasks"]["untracked"],
            10,
            "{percent} %: {run}"
        );
        assert!(run.stderr.contains("cut short"), "{run}");
    }
}

#[test]
fn one_that_is_cut_anywhere_is_shown_in_part_or_refused() {
    let Some((_victim, core)) = core() else {
        return;
    };
    let length = fs::metadata(&core).unwrap().len();
    let file = File::options().write(true).open(&core).unwrap();
    for left in [length / 5, length / 50, 70_000, 4096, 64, 1, 0] {
        file.set_len(left).unwrap();
        let run = of_core(&["stack"], &core, &["--tasks"]);
        assert!(matches!(run.code, Some(1 | 6)), "{left} bytes: {run}");
        assert!(!run.stderr.is_empty(), "{run}");
    }
}

#[test]
fn without_the_executable_tasks_are_counted_by_address() {
    let Some((victim, core)) = core() else { return };
    let missing = victim.directory().join("missing");
    let run = of_core(
        &["stats"],
        &core,
        &["--json", "--exe", missing.to_str().unwrap()],
    )
    .exits(6);
    assert!(run.stderr.contains("--exe"), "{run}");
    let stats: Value = run.json();
    assert_eq!(stats["tasks"]["untracked"], 10, "{run}");
    let run = of_core(&["stats"], &core, &["--json", "--exe", "/bin/sh"]).exits(6);
    assert!(run.stderr.contains("another build"), "{run}");
}

#[test]
fn lies_in_its_headers_cost_neither_time_nor_memory() {
    let Some((_victim, core)) = core() else {
        return;
    };
    let whole = fs::read(&core).unwrap();
    // The words of the header and of the program headers, one after
    // another, become values that fit nowhere.
    for at in (24..64).step_by(8).chain((64..64 + 56 * 12).step_by(8)) {
        let mut file = File::options().write(true).open(&core).unwrap();
        for lie in [u64::MAX, 1 << 40, 0] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&lie.to_le_bytes()).unwrap();
            expect_an_answer(&core);
        }
        file.seek(SeekFrom::Start(at)).unwrap();
        let at = usize::try_from(at).unwrap();
        file.write_all(&whole[at..at + 8]).unwrap();
    }
}

fn expect_an_answer(core: &Path) {
    let run = of_core(&["stack"], core, &["--tasks"]);
    assert!(matches!(run.code, Some(0 | 1 | 6)), "{run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
}
