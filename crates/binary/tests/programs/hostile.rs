//! Files that lie: they cost no more than their size allows, and never a panic.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::OnceLock,
};

use proptest::{collection::vec, prelude::*};
use rtops_binary::{Details, ReadError, recognize};
use tempfile::tempfile;

use crate::support::Program;

/// Where an ELF header has the offset of the section table, and the number of sections.
const SECTION_TABLE: u64 = 0x28;
const SECTION_COUNT: u64 = 0x3c;

/// Returns a program with everything that is looked at.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // A copy of the standard library in the program would be too much to copy this often.
        let arguments = ["-Cdebuginfo=limited", "-Cprefer-dynamic"];
        Program::build(&arguments).bytes()
    })
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// Reads a file in both ways; any result is fine.
fn look(file: &File) {
    drop(recognize(file));
    drop(Details::read(file));
}

#[test]
fn the_program_that_is_changed_is_a_good_one() {
    let details = Details::read(&file(program())).unwrap();
    assert!(details.rustc.is_some() && details.debug.is_some() && details.build_id.is_some());
}

#[test]
fn a_file_may_end_anywhere() {
    let whole = program();
    let ends = (0..4096).step_by(61).chain((0..whole.len()).step_by(4099));
    for end in ends {
        let file = file(&whole[..end]);
        assert!(recognize(&file).is_err(), "{end}");
        look(&file);
    }
}

#[test]
fn what_is_no_program_is_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\n", &[0x7f; 64], &[0; 4096]] {
        assert!(matches!(recognize(&file(bytes)), Err(ReadError::NotElf)));
    }
}

#[test]
fn a_huge_sparse_file_costs_nothing() {
    const SIZE: u64 = 1 << 42;
    for count in [1_u16, 40, 4096, u16::MAX] {
        let file = file(program());
        file.set_len(SIZE).unwrap();
        for (place, bytes) in [
            (SECTION_TABLE, (SIZE / 2).to_le_bytes().as_slice()),
            (SECTION_COUNT, count.to_le_bytes().as_slice()),
        ] {
            file.write_all_at(bytes, place).unwrap();
        }
        assert!(!matches!(recognize(&file), Ok(Some(_))), "{count}");
        look(&file);
    }
}

#[test]
fn sections_of_any_size_are_bounded() {
    let whole = program();
    let table = u64::from_le_bytes(whole[0x28..0x30].try_into().unwrap());
    let count = u16::from_le_bytes(whole[0x3c..0x3e].try_into().unwrap());
    for section in 0..u64::from(count) {
        for size in [0, 1 << 20, 1 << 40, u64::MAX] {
            let file = file(whole);
            file.set_len(1 << 41).unwrap();
            file.write_all_at(&size.to_le_bytes(), table + section * 64 + 0x20)
                .unwrap();
            look(&file);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_do_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = program().to_vec();
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        look(&file(&bytes));
    }

    #[test]
    fn changed_headers_do_no_harm(changes in vec((0_usize..64 * 40, any::<u8>()), 1..20)) {
        let mut bytes = program().to_vec();
        let table = usize::try_from(u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap())).unwrap();
        for (place, byte) in changes {
            if let Some(old) = bytes.get_mut(table + place) {
                *old = byte;
            }
        }
        look(&file(&bytes));
    }
}
