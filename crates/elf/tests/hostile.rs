//! Files that are made to harm whoever reads them. Each is read by a separate process with little
//! memory, stack and time, which has to report what it left out.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "common/forge.rs"]
mod forge;
#[path = "common/look.rs"]
mod look;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rtops_elf::Budget;
use tempfile::tempdir;

/// How many addresses are looked up in each.
const ADDRESSES: u64 = 2000;
/// The size of a file with a hole, in bytes.
const SPARSE: u64 = 9 << 30;
/// The limits of the process, in KiB and seconds.
const LIMITS: &str = "ulimit -v 2000000; ulimit -s 1024; ulimit -t 120";

/// What the reader should report about a file.
enum Expected {
    /// It left something out, for this reason.
    LeftOut(&'static str),
    /// It read everything that makes sense.
    Nothing,
}

use Expected::{LeftOut, Nothing};

fn main() {
    let mut arguments = env::args().skip(1);
    if let (Some("--look"), Some(path)) = (arguments.next().as_deref(), arguments.next()) {
        let file = File::open(path).unwrap();
        let budget = Arc::new(Budget::part(&Arc::default()));
        println!("{}", look::look(file, &budget, ADDRESSES));
        return;
    }
    checked_in();
    forged();
    sparse();
}

/// Runs a process that looks at a file, and checks its report.
fn check(name: &str, path: &Path, expected: &Expected) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{LIMITS}; exec \"$0\" --look \"$1\"")]);
    let output = shell
        .arg(env::current_exe().unwrap())
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{name}: {}", said.trim_end());
    assert!(
        output.status.success(),
        "{name}: {}\n{said}{errors}",
        output.status
    );
    match expected {
        LeftOut(reason) => assert!(said.contains(reason), "{name}: {said}"),
        Nothing => assert!(said.contains("nothing left out"), "{name}: {said}"),
    }
}

fn checked_in() {
    let attacks = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    for (name, expected) in [
        ("deep_inline.so", LeftOut("nested inlined functions")),
        ("file_table.so", Nothing),
        ("long_demangle.so", Nothing),
    ] {
        check(name, &attacks.join(name), &expected);
    }
    assert_eq!(fs::read_dir(attacks).unwrap().count(), 3);
}

fn forged() {
    let place = tempdir().unwrap();
    for (name, bytes, expected) in [
        ("no harm", forge::plain(), Nothing),
        ("deep blocks", forge::deep_blocks(), Nothing),
        (
            "shared ranges",
            forge::shared_ranges(),
            LeftOut("ranges of addresses"),
        ),
        ("circular names", forge::circular_names(), Nothing),
        (
            "many abbreviations",
            forge::many_abbreviations(),
            LeftOut("debug info is malformed"),
        ),
        (
            "many units",
            forge::many_units(),
            LeftOut("compilation units"),
        ),
        ("many rows", forge::many_rows(), LeftOut("line table rows")),
        ("many sequences", forge::many_sequences(), Nothing),
        (
            "empty files",
            forge::empty_files(),
            LeftOut("line table is malformed"),
        ),
        (
            "a section of 2 GiB",
            forge::lying_sections(2 << 30),
            LeftOut(".debug_info is malformed"),
        ),
        (
            "a section of 1 GiB",
            forge::lying_sections(1 << 30),
            LeftOut(".debug_info is malformed"),
        ),
        ("a section of 5 bytes", forge::lying_sections(5), Nothing),
        (
            "much zstd",
            forge::zstd_bomb(),
            LeftOut("bytes than are read"),
        ),
        ("long names", forge::long_names(), Nothing),
        (
            "overlapping sections",
            forge::overlapping(),
            LeftOut("malformed"),
        ),
    ] {
        let path = place.path().join(name);
        fs::write(&path, bytes).unwrap();
        check(name, &path, &expected);
    }
}

fn sparse() {
    let place = tempdir().unwrap();
    for (name, bytes, expected) in [
        ("a long note", forge::sparse_note(SPARSE), Nothing),
        (
            "a long symbol table",
            forge::sparse_symbols(SPARSE),
            LeftOut("bytes than are read"),
        ),
    ] {
        let path = place.path().join(name);
        fs::write(&path, bytes).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(SPARSE)
            .unwrap();
        check(name, &path, &expected);
    }
}
