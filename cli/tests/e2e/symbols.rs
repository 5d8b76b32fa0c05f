//! The cost of looking up addresses again, counted in instructions, which
//! no other load on the machine changes.

use std::{fs, path::Path, process::Command, time::Duration};

use rtops_symbols::child::ChildOptions;

use crate::{
    common::symbols::{Program, Reader},
    support::{Build, copy_program},
};

/// How many addresses are looked up.
const ADDRESSES: usize = 200;

/// Returns how many instructions a process takes to look up a program's
/// addresses, with this directory of caches.
fn instructions(rtops: &Path, program: &Program, caches: &Path) -> u64 {
    let log = caches.join("log");
    let reader = Reader::script(&format!(
        "exec valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file={} {} \"$@\"",
        log.display(),
        rtops.display(),
    ));
    let mut symbols = program.read_by(ChildOptions {
        program: reader.path(),
        // It is some fifty times as slow under valgrind, which needs memory, too.
        timeout: Duration::from_secs(1200),
        memory: 16 << 30,
        cache: Some(caches.to_owned()),
    });
    let found = program.look_up(&mut symbols);
    assert_eq!(found.resolved.len(), program.addresses.len());
    assert_eq!(symbols.lacks(), []);
    // valgrind prints the count when the process has ended.
    drop(symbols);
    let log = fs::read_to_string(log).unwrap();
    let collected = log.split("Collected :").nth(1);
    let number = collected.and_then(|text| text.split_whitespace().next());
    number.unwrap_or_else(|| panic!("{log}")).parse().unwrap()
}

#[test]
fn a_second_look_costs_little_and_the_same_for_large_programs() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("skipped: there is no valgrind to count instructions");
        return;
    }
    // Copies: cached data is valid only for an unchanged file, and a link
    // that another test makes changes it.
    let copies = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [services, rtops] = ["services", "rtops"].map(|name| copies.path().join(name));
    copy_program(Build::Release.path(), &services);
    copy_program(env!("CARGO_BIN_EXE_rtops").as_ref(), &rtops);
    let seconds = [&services, &rtops].map(|path| {
        let program = Program::of(path, ADDRESSES);
        let caches = tempfile::tempdir().unwrap();
        let first = instructions(&rtops, &program, caches.path());
        let second = instructions(&rtops, &program, caches.path());
        assert!(second < first / 4, "{second} after {first}");
        second
    });
    let [small, large] = seconds;
    assert!(large < 2 * small, "{large} beside {small}");
}
