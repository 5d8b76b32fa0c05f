//! Tests which parts of a process are frozen, and where its memory is read.

use std::{os::unix::fs::FileExt as _, process::Command};

use rtops_attach::{Frozen, How, Pid, Threads, freeze};
use rtops_image::live::Memory;

use crate::{
    Test,
    harm::options,
    process::{Target, threads, wait_until_free, wait_until_no_copy},
};

pub const TESTS: &[Test] = &[
    ("a_small_process_is_copied_and_read_at_once", small),
    ("a_large_process_is_read_from_a_copy_that_is_held", large),
    ("one_thread_is_enough", one_thread),
    ("registers_are_those_of_the_stop", registers),
    ("a_program_that_was_replaced_is_in_memory_only", replaced),
];

/// Reads memory of a frozen process.
pub fn read(frozen: &Frozen, address: u64, into: &mut [u8]) {
    match &frozen.parts.memory {
        Memory::Process(file) => file.read_exact_at(into, address).unwrap(),
        Memory::Kept { file, pieces } => {
            let piece = pieces.iter().find(|(range, _)| range.contains(&address));
            let (range, offset) = piece.expect("it was kept");
            assert!(address + into.len() as u64 <= range.end);
            file.read_exact_at(into, offset.0 + (address - range.start))
                .unwrap();
        }
    }
}

pub fn check_heap(frozen: &Frozen, target: &mut Target) {
    let address = target.ask("heap").parse().unwrap();
    let mut bytes = vec![0; 8 << 16];
    read(frozen, address, &mut bytes);
    for (index, word) in bytes.chunks_exact(8).enumerate() {
        assert_eq!(
            u64::from_ne_bytes(word.try_into().unwrap()),
            index as u64 * 3
        );
    }
}

fn small() {
    let mut target = Target::start("plain", &[]);
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    println!("pause {:?}, {} bytes", frozen.pause, frozen.copied_bytes);
    assert_eq!(frozen.how, How::Copied);
    assert!(frozen.held.is_none());
    assert!(matches!(frozen.parts.memory, Memory::Kept { .. }));
    assert_eq!(frozen.parts.threads.len(), threads(target.pid).len());
    assert_eq!(frozen.threads_not_stopped, 0);
    check_heap(&frozen, &mut target);
    let maps = String::from_utf8(frozen.parts.maps.clone()).unwrap();
    assert!(maps.contains("[stack]"));
    assert!(frozen.parts.auxv.len() > 16);
    // Every copy has ended by now, and the target has no child.
    wait_until_no_copy(&[target.pid]);
    wait_until_free(target.pid);
    target.facts().assert_same(&before);
    assert_ne!(target.ask("sum"), "");
}

fn large() {
    let mut target = Target::start("memory", &["100"]);
    let before = target.facts();
    let mut frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    println!("pause {:?}, {} bytes", frozen.pause, frozen.copied_bytes);
    assert_eq!(frozen.how, How::Copied);
    assert!(frozen.copied_bytes >= 100 << 20);
    wait_until_free(target.pid);
    target.facts().assert_same(&before);
    // The copy stays as it was.
    let address = target.ask("heap").parse().unwrap();
    assert_eq!(target.ask("write"), "written");
    let mut bytes = vec![0; 1 << 20];
    read(&frozen, address, &mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 1));
    assert_eq!(frozen.held.take().unwrap().end(), None);
    let Memory::Process(memory) = &frozen.parts.memory else {
        panic!("it was read");
    };
    // The copy has ended, and its memory is gone.
    assert_eq!(memory.read_at(&mut bytes, address).unwrap_or(0), 0);
    wait_until_no_copy(&[target.pid]);
    target.facts().assert_same(&before);
}

fn one_thread() {
    let mut target = Target::start("plain", &[]);
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::One)).unwrap();
    println!("pause {:?}", frozen.pause);
    assert_eq!(frozen.parts.threads.len(), 1);
    check_heap(&frozen, &mut target);
    wait_until_no_copy(&[target.pid]);
    wait_until_free(target.pid);
    target.facts().assert_same(&before);
}

fn registers() {
    let target = Target::start("registers", &[]);
    let thread = loop {
        let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
        let is_asleep = |thread: &&rtops_image::Thread| thread.registers.orig_rax == 35;
        // Otherwise it was between two calls.
        if let Some(thread) = frozen.parts.threads.iter().find(is_asleep) {
            break thread.clone();
        }
    };
    assert_eq!((thread.registers.r12, thread.registers.r15), (12, 15));
    let vectors = thread.vectors.unwrap();
    for (index, byte) in vectors.ymm.iter().flatten().enumerate() {
        assert_eq!(*byte, (index * 7 + 1) as u8);
    }
    wait_until_no_copy(&[target.pid]);
}

/// The target's executable is deleted, so its code can be read nowhere else.
fn replaced() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let target = Target::start_by(Command::new(&program), "plain", &[]);
    std::fs::remove_file(&program).unwrap();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    let maps = String::from_utf8(frozen.parts.maps.clone()).unwrap();
    let code = maps
        .lines()
        .find(|line| line.contains("r-xp") && line.ends_with("(deleted)"));
    let vdso = maps.lines().find(|line| line.ends_with("[vdso]"));
    for line in [code.unwrap(), vdso.unwrap()] {
        let (start, _) = line.split_once('-').unwrap();
        let mut bytes = [0; 4096];
        read(&frozen, u64::from_str_radix(start, 16).unwrap(), &mut bytes);
        assert!(bytes.iter().any(|byte| *byte != 0));
    }
    wait_until_no_copy(&[target.pid]);
}
