//! Compares what is read from real programs with what the `addr2line` crate reads.
#![allow(clippy::unwrap_used)]

use std::{
    env,
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use gimli::{Dwarf as Sections, EndianArcSlice, LittleEndian, SectionId};
use object::{Object, ObjectSection, read::elf::ElfFile64};
use rtops_elf::{Budget, Dwarf, Elf, Frame, Place};
use rtops_types::Svma;

/// How many addresses of a program are compared.
const ADDRESSES: u64 = 20_000;

fn code(path: &Path) -> (u64, u64) {
    let bytes = fs::read(path).unwrap();
    let elf = ElfFile64::<object::Endianness>::parse(&*bytes).unwrap();
    let text = elf.section_by_name(".text").unwrap();
    (text.address(), text.address() + text.size())
}

type Context = addr2line::Context<EndianArcSlice<LittleEndian>>;

fn context(path: &Path) -> Context {
    let bytes = fs::read(path).unwrap();
    let elf = ElfFile64::<object::Endianness>::parse(&*bytes).unwrap();
    let load = |id: SectionId| {
        let section = elf.section_by_name(id.name());
        let bytes = section.map_or(&[][..], |section| section.data().unwrap());
        Ok::<_, gimli::Error>(EndianArcSlice::new(Arc::from(bytes), LittleEndian))
    };
    Context::from_dwarf(Sections::load(load).unwrap()).unwrap()
}

fn expected(context: &Context, address: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut found = context.find_frames(address).skip_all_loads().unwrap();
    while let Some(frame) = found.next().unwrap() {
        let name = frame
            .function
            .map(|name| name.raw_name().unwrap().into_owned());
        let place = frame.location.and_then(|location| {
            Some(Place {
                file: location.file?.to_owned(),
                line: location.line.unwrap_or(0),
                column: location.column.unwrap_or(0),
            })
        });
        frames.push(Frame {
            linkage: name,
            bare: None,
            place,
        });
    }
    frames
}

/// Returns the names as in that crate: the linkage name, if there is one.
fn read(dwarf: &Dwarf, address: u64) -> Vec<Frame> {
    let frames = dwarf.frames(Svma(address)).into_iter();
    let frames = frames.map(|frame| Frame {
        linkage: frame.linkage.or(frame.bare),
        bare: None,
        place: frame.place,
    });
    frames.collect()
}

/// Clears the file of code without a line, which may be any file.
fn without_odd_file(mut frame: Frame) -> Frame {
    if let Some(place) = frame.place.as_mut().filter(|place| place.line == 0) {
        place.file.clear();
    }
    frame
}

#[test]
fn this_program_is_read_as_others_read_it() {
    let path = env::current_exe().unwrap();
    let named = compare(&path);
    assert!(named > ADDRESSES / 4, "{named}");
}

/// Compares all frames at addresses all over the code, and returns the number of
/// addresses that had some.
fn compare(path: &Path) -> u64 {
    let file = Arc::new(File::open(path).unwrap());
    let budget = Arc::new(Budget::default());
    let elf = Arc::new(Elf::read(file, &budget).unwrap());
    let context = context(path);
    // Elsewhere are functions that the linker left out, at addresses that do not belong to them.
    let (start, end) = code(path);
    let dwarf = Dwarf::of(elf).unwrap();
    let step = usize::try_from((end - start) / ADDRESSES).unwrap();
    let mut named = 0;
    for address in (start..end).step_by(step) {
        let frames = read(&dwarf, address);
        named += u64::from(!frames.is_empty());
        let known = expected(&context, address);
        assert_eq!(frames.len(), known.len(), "{address:#x}");
        for (frame, known) in frames.into_iter().zip(known) {
            assert_eq!(
                without_odd_file(frame),
                without_odd_file(known),
                "{address:#x}"
            );
        }
        assert!(dwarf.take_fault().is_none(), "{address:#x}");
    }
    named
}
