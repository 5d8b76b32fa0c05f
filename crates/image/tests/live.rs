//! Tests images of stopped processes and of their copies.

mod common;

use std::{
    fs,
    ops::{ControlFlow, Range},
    path::Path,
};

use common::{
    Program, Victim,
    live::{From, image, parts, said},
};
use rtops_image::{
    Absence, Contents, Gap, Image, NoFile, Unreadable,
    live::{self, Error, Live},
};

/// A program with mappings of every kind.
struct Regions {
    program: Program,
    victim: Victim,
}

impl Regions {
    fn start() -> Self {
        let program = Program::build_of("regions.c", &[]);
        let library = program.dir.join("library.so");
        common::compile_of("library.c", &library, &["-shared", "-fPIC"]);
        let mut archive = vec![b'z'; 4096];
        archive.extend(fs::read(&library).expect("the library"));
        let path = program.dir.join("archive");
        fs::write(&path, archive).expect("an archive");
        let victim = program.start_with(&[path.to_str().expect("a path")]);
        victim.freeze();
        Self { program, victim }
    }

    fn live(&self, from: From) -> Live {
        image(parts(self.victim.pid(), from))
    }

    fn place(&self, name: &str) -> Range<u64> {
        self.victim.place(name)
    }

    /// Returns a place that not every kernel supports.
    fn place_if_any(&self, name: &str) -> Option<Range<u64>> {
        self.victim.places.get(name).cloned()
    }

    fn pages_present(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.victim.pid());
        let text = fs::read_to_string(path).expect("it is there");
        let resident = text.split(' ').nth(1).expect("a number");
        resident.parse().expect("a number")
    }
}

fn absent(live: &Live, at: u64) -> Option<Absence> {
    match live.read(at, &mut [0; 8]) {
        Ok(()) => None,
        Err(Unreadable::Absent(_, why)) => Some(why),
        Err(other) => panic!("{at:#x}: {other}"),
    }
}

#[test]
fn what_was_never_touched_is_not_touched() {
    let regions = Regions::start();
    let live = regions.live(From::Process);
    let reservation = regions.place("reservation");
    let before = regions.pages_present();
    let mut shown = Vec::new();
    live.for_each_chunk(&mut |start, bytes| {
        if reservation.contains(&start) {
            shown.push(start..start + bytes.len() as u64);
        }
        ControlFlow::Continue(())
    })
    .expect("all of it");
    let page = |at: u64| reservation.start + at..reservation.start + at + 4096;
    let size = reservation.end - reservation.start;
    assert_eq!(shown, [page(4096), page(1 << 30), page(size - 4096)]);
    // Also between two touched pages, and across the limit of one query.
    let mut bytes = vec![0xaa; 80 << 20];
    let from = reservation.start + (1 << 30) - (40 << 20) + 5;
    live.read(from, &mut bytes).expect("known");
    let (text, rest) = bytes.split_at((40 << 20) - 5 + 16);
    assert!(text.ends_with(b"a gigabyte on\0\0\0") && rest.iter().all(|byte| *byte == 0));
    let zeros = text.iter().take_while(|byte| **byte == 0).count();
    assert_eq!(zeros, (40 << 20) - 5);
    let word = live.read_c_string(reservation.start + 4096, 100);
    assert_eq!(word.as_deref(), Ok(&b"second page"[..]));
    if let Some(huge) = regions.place_if_any("huge") {
        assert_eq!(live.read_u64(huge.start + 4096), Ok(0));
    }
    assert_eq!(regions.pages_present(), before);
}

#[test]
fn the_kept_memory_of_a_reservation_is_a_hole() {
    let regions = Regions::start();
    let live = regions.live(From::Kept);
    let reservation = regions.place("reservation");
    let mut shown = 0;
    live.for_each_chunk(&mut |start, bytes| {
        shown += if reservation.contains(&start) {
            bytes.len()
        } else {
            0
        };
        ControlFlow::Continue(())
    })
    .expect("all of it");
    assert!((3 * 4096..4 << 20).contains(&shown), "{shown} bytes");
    assert_eq!(live.read_u64(reservation.start), Ok(0));
    let word = live.read_c_string(reservation.end - 4096, 100);
    assert_eq!(word.as_deref(), Ok(&b"last page"[..]));
}

#[test]
fn what_must_not_be_read_is_absent() {
    let regions = Regions::start();
    let live = regions.live(From::Process);
    let at = |name: &str| regions.place(name).start;
    assert_eq!(absent(&live, at("none")), Some(Absence::NoAccess));
    let maps = parts(regions.victim.pid(), From::Blind).maps;
    let maps = String::from_utf8(maps).expect("text");
    for line in maps.lines().filter(|line| line.contains("[v")) {
        let start = line.split('-').next().expect("an address");
        let start = u64::from_str_radix(start, 16).expect("an address");
        let why = (!line.ends_with("[vdso]")).then_some(Absence::Kernel);
        assert_eq!(absent(&live, start), why, "{line}");
    }
    if let Some(ring) = regions.place_if_any("ring") {
        assert_eq!(absent(&live, ring.start), Some(Absence::Device));
    }
    for (name, text) in [
        ("zero", "of zero"),
        ("shared", "shared zero"),
        ("memory", "of memory"),
        ("named", "named"),
        ("written", "written here"),
        ("cut", "cut"),
        ("mapped", "mmmmmmmm"),
    ] {
        let got = live.read_c_string(at(name), text.len());
        assert_eq!(got.as_deref(), Ok(text.as_bytes()), "{name}");
    }
    // Without a page map, nobody knows which huge pages are present.
    let blind = regions.live(From::Blind);
    if let Some(huge) = regions.place_if_any("huge") {
        assert_eq!(absent(&blind, huge.start), Some(Absence::FileSystem));
        let is_said = |gap: &Gap| {
            matches!(
                gap,
                Gap::Unread {
                    why: Absence::FileSystem,
                    ..
                }
            )
        };
        assert!(blind.gaps().iter().any(is_said), "{:?}", blind.gaps());
    }
}

#[test]
fn a_page_that_can_not_be_read_costs_itself_only() {
    let regions = Regions::start();
    let cut = regions.place("cut");
    let guarded = regions.place_if_any("guarded");
    let live = regions.live(From::Process);
    let mut bytes = [0; 3 * 4096];
    let read = live.read(cut.start, &mut bytes);
    let Err(Unreadable::Io(at, _)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(at, cut.start + 4096);
    assert!(bytes.starts_with(b"cut\0"));
    let mut shown = Vec::new();
    live.for_each_chunk(&mut |start, bytes| {
        let pages = (start..start + bytes.len() as u64).step_by(4096);
        shown.extend(pages);
        ControlFlow::Continue(())
    })
    .expect("all of the rest");
    assert!(shown.contains(&cut.start) && !shown.contains(&(cut.start + 4096)));
    if let Some(guarded) = guarded {
        let pages = guarded.clone().step_by(4096).map(|at| shown.contains(&at));
        assert_eq!(pages.collect::<Vec<_>>(), [true, false, true, true]);
        assert!(live.read_u64(guarded.start + 4096).is_err());
    }
}

#[test]
fn a_copy_is_as_the_process() {
    let regions = Regions::start();
    let process = regions.live(From::Process);
    let pid = i32::try_from(regions.place("copy").start).expect("a pid");
    let copy = image(parts(pid, From::Process));
    let of_copy: Vec<_> = copy.modules().iter().map(said).collect();
    let of_process: Vec<_> = process.modules().iter().map(said).collect();
    assert_eq!(of_copy, of_process);
    // The copy has not touched pages that it would only read.
    let (mut equal, stack) = (0, process_stack(&process));
    for region in copy.regions() {
        let same = process.region_of(region.range.start);
        assert_eq!(same.map(|same| same.contents), Some(region.contents));
        let is_small = region.range.end - region.range.start < 64 << 20;
        if region.contents != Contents::Present || region.range == stack || !is_small {
            continue;
        }
        for at in region.range.clone().step_by(4096) {
            let (mut here, mut there) = ([0xaa; 4096], [0xbb; 4096]);
            let read = copy.read(at, &mut here);
            assert_eq!(read, process.read(at, &mut there), "{at:#x}");
            if read.is_ok() {
                // The end of the output buffer differs, because it says which process is which.
                let differ = here.iter().zip(&there).filter(|(a, b)| a != b).count();
                assert!(differ <= 64, "{at:#x} in {region:?}: {differ} bytes");
                equal += usize::from(differ == 0);
            }
        }
    }
    assert!(equal > 500, "only {equal} pages");
}

fn process_stack(live: &Live) -> Range<u64> {
    let last = live.regions().iter().rev().find(|region| region.is_own());
    last.expect("a stack").range.clone()
}

#[test]
fn nobody_waits_for_a_page_that_another_process_hands_in() {
    let regions = Regions::start();
    let Some(served) = regions.place_if_any("served") else {
        return;
    };
    let live = regions.live(From::Process);
    assert_eq!(live.read_u64(served.start), Ok(0));
    // The kernel does not wait on behalf of a reader.
    let blind = regions.live(From::Blind);
    let read = blind.read_u64(served.start);
    assert!(matches!(read, Err(Unreadable::Io(..))), "{read:?}");
}

#[test]
fn a_library_inside_of_an_archive_is_a_module() {
    let regions = Regions::start();
    let plain = fs::read(regions.program.dir.join("library.so")).expect("the library");
    for from in [From::Process, From::Kept] {
        let live = regions.live(from);
        let at = regions.place("archive");
        if from == From::Kept {
            // As in a core, nothing shows that it is an ELF file.
            assert_eq!(absent(&live, at.start), Some(Absence::Data));
            continue;
        }
        let module = live.module_of(at.start).expect("a module");
        let archive = regions.program.dir.join("archive");
        assert_eq!(module.file.as_ref().err(), Some(&NoFile::Embedded(archive)));
        assert_eq!(module.load_bias, at.start);
        let is_there = plain
            .windows(module.build_id.len())
            .any(|bytes| bytes == module.build_id);
        assert!(module.build_id.len() >= 8 && is_there, "{module:?}");
    }
}

#[test]
fn a_program_that_was_replaced_is_found_while_it_runs() {
    let program = Program::build(&[]);
    let victim = program.start();
    victim.freeze();
    fs::remove_file(&program.path).expect("removed");
    let find = |program: &Live| program.program().expect("the program").file.clone();
    for text in ["", "something else"] {
        if !text.is_empty() {
            fs::write(&program.path, text).expect("another file");
        }
        let live = image(parts(victim.pid(), From::Process));
        let file = find(&live).expect("the kernel leads to it");
        assert_eq!(file.path, Path::new(&format!("/proc/{}/exe", victim.pid())));
    }
    // If the process has ended, only the name is left.
    let mut of_ended = parts(victim.pid(), From::Kept);
    drop(victim);
    of_ended.root = "/".into();
    let live = image(of_ended);
    let why = find(&live).expect_err("there is none");
    assert_eq!(why, NoFile::NotElf(program.path.clone()));
    let named = live.program().expect("the program").path.clone();
    assert!(named.to_string_lossy().ends_with("victim (deleted)"));
    assert!(!live.program().expect("the program").build_id.is_empty());
}

#[test]
fn the_user_may_name_the_program() {
    let program = Program::build(&[]);
    let victim = program.start();
    victim.freeze();
    let copy = program.dir.join("copy");
    fs::copy(&program.path, &copy).expect("a copy");
    let options = live::Options {
        exe: Some(copy.clone()),
        ..live::Options::default()
    };
    let live = Live::new(parts(victim.pid(), From::Process), &options).expect("an image");
    let file = live.program().expect("the program").file.clone();
    assert_eq!(file.expect("a file").path, copy);
}

#[test]
fn a_process_that_has_ended_is_no_image() {
    let program = Program::build(&[]);
    let victim = program.start();
    victim.freeze();
    let (mut empty, gone) = (
        parts(victim.pid(), From::Process),
        parts(victim.pid(), From::Process),
    );
    let pid = victim.pid();
    empty.maps.clear();
    let error = Live::new(empty, &live::Options::default()).expect_err("no image");
    assert!(matches!(error, Error::NothingMapped(of) if of.as_raw() == pid));
    drop(victim);
    // If all memory to read is gone, that is not the same as empty memory.
    let live = image(gone);
    let read = live.for_each_chunk(&mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(read, Err(Unreadable::Io(..))), "{read:?}");
    assert!(live.gaps().contains(&Gap::NoThreads));
}
