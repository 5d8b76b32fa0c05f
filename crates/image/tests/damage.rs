//! Tests cores that are cut or that lie.

mod common;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use common::{
    Program,
    forged::{self, Forged, Segment},
    no_kernel_core,
};
use proptest::prelude::*;
use rtops_image::{Absence, Contents, Core, Error, Gap, Image, Options, Unreadable};

/// An intact core to damage, and its program.
struct Whole {
    program: Program,
    bytes: Vec<u8>,
    core: Core,
}

fn whole() -> Option<&'static Whole> {
    static WHOLE: OnceLock<Option<Whole>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        let program = Program::keep("damage", &["-static"]);
        let path = program.start().die('s')?;
        let bytes = fs::read(&path).expect("the core");
        let core = Core::open(&path, &Options::default()).expect("a core");
        Some(Whole {
            program,
            bytes,
            core,
        })
    });
    whole.as_ref()
}

/// Reads everything in a core, and checks that it is consistent.
fn explore(core: &Core) {
    let mut behind = 0;
    for region in core.regions() {
        assert!(
            region.range.start >= behind && !region.range.is_empty(),
            "{region:?}"
        );
        behind = region.range.end;
        let mut bytes = [0; 16];
        let got = core.read(region.range.start, &mut bytes[..1]);
        match region.contents {
            Contents::Present => assert!(got.is_ok(), "{region:?}: {got:?}"),
            Contents::Absent(why) => {
                assert_eq!(got, Err(Unreadable::Absent(region.range.start, why)));
            }
        }
        core.read(region.range.end - 1, &mut bytes).ok();
        core.read_c_string(region.range.start, 64).ok();
    }
    let mut behind = 0;
    for module in core.modules() {
        assert!(!module.code.is_empty() && module.mapped.start < module.mapped.end);
        behind = behind.max(module.mapped.end);
    }
    for gap in core.gaps() {
        let text = gap.to_string();
        assert!(text.len() > 20 && !text.ends_with('.'), "{text}");
    }
    for thread in core.threads() {
        core.read_u64(thread.registers.rsp).ok();
    }
    core.read(u64::MAX - 3, &mut [0; 16]).ok();
    let mut shown = 0;
    core.for_each_chunk(&mut |_, bytes| {
        shown += bytes.len();
        ControlFlow::Continue(())
    })
    .expect("known regions can be read");
    assert!(shown < 1 << 30, "{shown} bytes of a small core");
}

fn open(path: &Path) -> Result<Core, Error> {
    Core::open(path, &Options::default())
}

/// Checks that what is left of a cut core equals the intact one, and
/// that the rest is reported as missing.
fn check_cut(whole: &Whole, path: &Path, length: usize) {
    let core = match open(path) {
        Ok(core) => core,
        Err(error) => {
            assert!(
                length < 64 && matches!(error, Error::Short(..)),
                "{length}: {error}"
            );
            return;
        }
    };
    explore(&core);
    let is_said = core.gaps().iter().any(|gap| match gap {
        Gap::Truncated(bytes) => *bytes == (whole.bytes.len() - length) as u64,
        Gap::HeadersCut(_) => true,
        _ => false,
    });
    assert_eq!(
        is_said,
        length < whole.bytes.len(),
        "{length}: {:?}",
        core.gaps()
    );
    for thread in core.threads() {
        let same = whole
            .core
            .threads()
            .iter()
            .find(|same| same.tid == thread.tid);
        assert_eq!(same.map(|same| same.registers), Some(thread.registers));
    }
    let known = core
        .regions()
        .iter()
        .filter(|region| region.contents == Contents::Present);
    for region in known {
        let size = usize::try_from(region.range.end - region.range.start).expect("small");
        let (mut left, mut right) = (vec![0; size], vec![0; size]);
        core.read(region.range.start, &mut left).expect("known");
        whole
            .core
            .read(region.range.start, &mut right)
            .expect("known in the whole");
        assert!(left == right, "{length}: {region:?} differs");
    }
}

#[test]
fn cut_at_every_boundary() {
    let Some(whole) = whole() else {
        return no_kernel_core();
    };
    let bytes = &whole.bytes;
    let word = |at: usize| usize::try_from(u64_at(bytes, at)).expect("small");
    let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
    let mut cuts = BTreeSet::from([0, 1, 4, 16, bytes.len()]);
    let mut add = |at: usize| cuts.extend([at.saturating_sub(1), at, at + 1]);
    for header in (64..).step_by(56).take(count) {
        add(header);
        add(header + 28);
        let (offset, size) = (word(header + 8), word(header + 32));
        add(offset);
        add(offset + size);
        add(offset + size / 2);
        let mut note = offset;
        while bytes[header] == 4 && note + 12 <= offset + size {
            let size_at = |at| usize::try_from(u64_at(bytes, at) & 0xffff_ffff).expect("small");
            let data = note + 12 + size_at(note).next_multiple_of(4);
            add(note);
            add(note + 12);
            add(data);
            note = data + size_at(note + 4).next_multiple_of(4);
            add(note);
        }
    }
    let path = whole.program.dir.join("boundary");
    fs::write(&path, bytes).expect("a copy");
    let file = File::options().write(true).open(&path).expect("the copy");
    for cut in cuts.into_iter().rev().filter(|cut| *cut <= bytes.len()) {
        file.set_len(cut as u64).expect("cut");
        check_cut(whole, &path, cut);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"))
}

fn scratch(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    fs::write(&path, bytes).expect("written");
    (directory, path)
}

/// Generates numbers that headers lie with.
fn lie() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|bit| (1_u64 << bit).wrapping_sub(1)),
        Just(u64::MAX),
        0..0x10_000_u64,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere(part in 0.0..1.0_f64) {
        if let Some(whole) = whole() {
            let length = (whole.bytes.len() as f64 * part) as usize;
            let (_directory, path) = scratch("cut", &whole.bytes[..length]);
            check_cut(whole, &path, length);
        }
    }

    /// Headers and notes with wrong numbers.
    #[test]
    fn headers_that_lie(lies in prop::collection::vec((0..8192_usize, 1..=8_usize, lie()), 1..8)) {
        if let Some(whole) = whole() {
            let mut bytes = whole.bytes.clone();
            for (at, size, number) in lies {
                // Mostly where the headers are.
                let at = if size > 2 { at % 2048 } else { at };
                bytes[at..at + size].copy_from_slice(&number.to_le_bytes()[..size]);
            }
            // With a valid start, it is mostly still a core.
            bytes[..20].copy_from_slice(&whole.bytes[..20]);
            let (_directory, path) = scratch("lies", &bytes);
            if let Ok(core) = open(&path) {
                explore(&core);
            }
        }
    }

    /// Segments and files that overlap in any way, in a well-formed core.
    #[test]
    fn any_layout(
        segments in prop::collection::vec((0..64_u64, 0..16_u64, 0..16_u64, 0..16_u64, 0..8_u32), 0..20),
        files in prop::collection::vec((0..64_u64, 0..16_u64, lie()), 0..10),
        notes in prop::collection::vec((0..10_u32, prop::collection::vec(any::<u8>(), 0..400)), 0..6),
    ) {
        let page = |page: u64| 0x40_0000 + page * 4096;
        let mut core = Forged { data: vec![7; 16 * 4096], ..Forged::default() };
        let names: Vec<_> = files
            .iter()
            .map(|(start, pages, offset)| (page(*start), page(start + pages), *offset, "/bin/sh"))
            .collect();
        core.add_files(&names);
        for (kind, bytes) in notes {
            core.add_note(kind, &bytes);
        }
        let data = Forged::data_at(segments.len(), core.notes.len());
        core.segments = segments.into_iter().map(|(at, pages, offset, present, flags)| Segment {
            address: page(at),
            in_memory: pages * 4096,
            offset: data + offset * 4096,
            in_file: present * 4096,
            flags,
        }).collect();
        let (_directory, path) = scratch("layout", &core.bytes());
        explore(&open(&path).expect("a core, however odd"));
    }
}

#[test]
fn more_segments_than_a_header_can_count() {
    let count = 70_000;
    let mut core = Forged::default();
    core.add_thread(1);
    core.data = (0..count)
        .flat_map(|index: u64| index.to_le_bytes())
        .collect();
    let data = Forged::data_at(70_000, core.notes.len());
    core.segments = (0..count)
        .map(|index| Segment {
            address: 0x10_0000 + index * 8192,
            in_memory: 8,
            offset: data + index * 8,
            in_file: 8,
            flags: 6,
        })
        .collect();
    let (_directory, path) = scratch("many", &core.bytes());
    let core = open(&path).expect("a core");
    assert_eq!(core.regions().len(), 70_000);
    for index in [0, 1, 65_534, 65_535, 69_999] {
        assert_eq!(core.read_u64(0x10_0000 + index * 8192), Ok(index));
    }
    let mut sum = 0;
    core.for_each_chunk(&mut |_, bytes| {
        sum += u64_at(bytes, 0);
        ControlFlow::Continue(())
    })
    .expect("all of it");
    assert_eq!(sum, count * (count - 1) / 2);
}

#[test]
fn where_segments_overlap_the_lower_one_counts_and_it_is_said() {
    let mut core = Forged {
        data: [[1; 4096], [2; 4096]].concat(),
        ..Forged::default()
    };
    let data = Forged::data_at(2, 0);
    let segment = |address, offset| Segment {
        address,
        in_memory: 4096,
        offset: data + offset,
        in_file: 4096,
        flags: 6,
    };
    core.segments = vec![segment(0x1800, 4096), segment(0x1000, 0)];
    let (_directory, path) = scratch("overlap", &core.bytes());
    let core = open(&path).expect("a core");
    let byte = |address| {
        let mut byte = [0];
        core.read(address, &mut byte).map(|()| byte[0])
    };
    let at = [0xfff, 0x1000, 0x1fff, 0x2000, 0x27ff, 0x2800].map(byte);
    let nothing = |address| Err(Unreadable::NotMapped(address));
    assert_eq!(
        at,
        [nothing(0xfff), Ok(1), Ok(1), Ok(2), Ok(2), nothing(0x2800)]
    );
    assert!(
        core.gaps().contains(&Gap::Contradictions(1)),
        "{:?}",
        core.gaps()
    );
}

#[test]
fn segments_that_share_bytes_do_not_make_a_small_file_large() {
    let mut core = Forged {
        data: vec![1; 1 << 20],
        ..Forged::default()
    };
    let data = Forged::data_at(1000, 0);
    core.segments = (0..1000)
        .map(|index| Segment {
            address: (index + 1) << 30,
            in_memory: 1 << 20,
            offset: data,
            in_file: 1 << 20,
            flags: 6,
        })
        .collect();
    let (_directory, path) = scratch("shared", &core.bytes());
    let core = open(&path).expect("a core");
    let mut shown = 0;
    core.for_each_chunk(&mut |_, bytes| {
        shown += bytes.len();
        ControlFlow::Continue(())
    })
    .expect("all of it");
    assert!(shown <= 2 << 20, "{shown}");
    let absent = core.region_of(900 << 30).map(|region| region.contents);
    assert_eq!(absent, Some(Contents::Absent(Absence::Contradiction)));
}

#[test]
fn huge_counts_are_cut_and_said() {
    let mut core = Forged::default();
    for tid in 0..70_000 {
        core.add_thread(tid);
    }
    // A file count that no note can hold.
    core.add_note(
        forged::FILE,
        &[u64::MAX.to_le_bytes(), 4096_u64.to_le_bytes()].concat(),
    );
    core.add_note(forged::AUXV, &[0xff; 100_000]);
    let (_directory, path) = scratch("counts", &core.bytes());
    let core = open(&path).expect("a core");
    assert_eq!(core.threads().len(), 1 << 16);
    let said: Vec<_> = core.gaps().iter().map(ToString::to_string).collect();
    assert!(
        said.contains(&"there are more than 65536 threads: the rest is left out".to_owned()),
        "{said:?}"
    );
    assert!(
        said.iter().any(|gap| gap.contains("mapped files")),
        "{said:?}"
    );
}

#[test]
fn what_is_no_core_is_refused_with_a_sentence() {
    let mut other = Forged::default().bytes();
    other[18] = 183;
    let cases = [
        (b"#!/bin/sh\n".to_vec(), "is no core file"),
        (
            fs::read("/proc/self/exe").expect("this program"),
            "is no core file",
        ),
        (other, "another kind of processor"),
        (Vec::new(), "it has 0 bytes"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "it has 7 bytes"),
        (b"\xfd7zXZ\0rest".to_vec(), "unpack it with `xz -d` first"),
        (b"\x1f\x8brest".to_vec(), "unpack it with `gzip -d` first"),
    ];
    for (bytes, expected) in cases {
        let (_directory, path) = scratch("other", &bytes);
        let error = open(&path).expect_err("no core").to_string();
        assert!(
            error.contains(expected) && error.contains("other"),
            "{error}"
        );
    }
    let error = open(Path::new("/nowhere")).expect_err("nothing");
    assert!(matches!(error, Error::Io(..)), "{error}");
}

/// A sparse file of a terabyte costs its creator nothing. Its holes must not be read one by one.
#[test]
fn a_sparse_file_with_endless_parts() {
    const ENDLESS: u64 = 1 << 40;
    let mut core = Forged::default();
    core.add_thread(1);
    let whole = core.bytes();
    let data = Forged::data_at(0, core.notes.len());
    // First a huge size of the notes; then also a huge number of headers, all zeros.
    for count in [1, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[128 + 32..128 + 40].copy_from_slice(&(ENDLESS - data).to_le_bytes());
        if count != 1 {
            bytes[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
            bytes[60..62].copy_from_slice(&1_u16.to_le_bytes());
            bytes[108..112].copy_from_slice(&count.to_le_bytes());
        }
        let (_directory, path) = scratch("endless", &bytes);
        let file = File::options().write(true).open(&path).expect("opened");
        file.set_len(ENDLESS).expect("a sparse file");
        let core = open(&path).expect("a core");
        explore(&core);
        assert_eq!(core.threads().len(), 1);
        let too_many = core.gaps().contains(&Gap::TooMany("mappings", 1 << 20));
        assert_eq!(too_many, count != 1, "{:?}", core.gaps());
    }
}

/// A note in segments that share it, which must not be read again and again.
#[test]
fn notes_that_are_shared_are_read_a_bounded_number_of_times() {
    let mut core = Forged::default();
    let names: Vec<_> = (0..10_000_u64)
        .map(|index| (index << 12, (index + 1) << 12, 0, "/bin/sh"))
        .collect();
    core.add_files(&names);
    core.add_thread(1);
    core.segments = vec![
        Segment {
            address: 0,
            in_memory: 0,
            offset: 0,
            in_file: 0,
            flags: 0,
        };
        20_000
    ];
    let mut bytes = core.bytes();
    let (first, rest) = bytes[128..].split_at_mut(56);
    for header in rest.chunks_exact_mut(56).take(20_000) {
        header.copy_from_slice(first);
    }
    let (_directory, path) = scratch("shared", &bytes);
    let core = open(&path).expect("a core");
    assert_eq!(core.threads().len(), 20_001);
    assert_eq!(core.modules().len(), 0);
    explore(&core);
}
