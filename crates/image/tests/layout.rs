//! Tests where memory is if the core has none of it.

mod common;

use std::{fs, path::Path};

use common::forged::{Forged, Segment, library};
use rtops_image::{
    Absence, Access, Backing, Contents, Core, FileOffset, Image, Options, Sharing, Unreadable,
};

const BASE: u64 = 0x7f00_0000_0000;

fn segment(address: u64, offset: u64, size: u64, flags: u32) -> Segment {
    Segment {
        address,
        in_memory: size,
        offset,
        in_file: size,
        flags,
    }
}

fn access(flags: &str) -> Access {
    Access {
        read: flags.contains('r'),
        write: flags.contains('w'),
        execute: flags.contains('x'),
    }
}

/// Three segments share the second page of the file; the address says
/// to which one a mapping belongs.
#[test]
fn segments_that_share_a_page_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("library.so");
    let segments = [
        segment(0, 0, 0x1200, 4),
        segment(0x2200, 0x1200, 0x100, 5),
        segment(0x3300, 0x1300, 0x100, 6),
    ];
    fs::write(&path, library(&segments, 0x1400)).expect("written");
    let name = path.to_str().expect("plain");
    // One page more than the file has is mapped at the end.
    let mut core = Forged {
        data: vec![1; 4096],
        ..Forged::default()
    };
    core.add_files(&[
        (BASE, BASE + 0x2000, 0, name),
        (BASE + 0x2000, BASE + 0x3000, 1, name),
        (BASE + 0x3000, BASE + 0x5000, 1, name),
    ]);
    // A stack: its presence shows that the core has written memory.
    let data = Forged::data_at(1, core.notes.len());
    core.segments.push(segment(0x1000, data, 0x1000, 6));
    let core_path = directory.path().join("core");
    core.write(&core_path);
    let core = Core::open(Path::new(&core_path), &Options::default()).expect("a core");

    let found: Vec<_> = core
        .regions()
        .iter()
        .skip(1)
        .map(|r| (r.range.clone(), r.access))
        .collect();
    let expected = [
        (BASE..BASE + 0x2000, access("r")),
        (BASE + 0x2000..BASE + 0x3000, access("rx")),
        (BASE + 0x3000..BASE + 0x4000, access("rw")),
        (BASE + 0x4000..BASE + 0x5000, access("rw")),
    ];
    assert_eq!(found, expected);
    let last = core.region_of(BASE + 0x3000).expect("mapped");
    assert_eq!(
        (last.sharing, last.contents),
        (Sharing::Private, Contents::Present)
    );
    let Backing::File { offset, .. } = &last.backing else {
        panic!("{last:?}");
    };
    assert_eq!(*offset, FileOffset(0x1000));
    let module = core.modules().first().expect("the library");
    assert_eq!(module.code, BASE + 0x2200..BASE + 0x2300);
    assert_eq!(module.mapped, BASE..BASE + 0x4000);

    // After the end of the file, the rest of its last page is zeros and the next page is unknown.
    let mut page = [0xaa; 0x1000];
    core.read(BASE + 0x3000, &mut page).expect("known");
    assert!(page[..0x400] == [0x11; 0x400] && page[0x400..] == [0; 0xc00]);
    let behind = core.read(BASE + 0x3fff, &mut [0; 2]);
    assert_eq!(
        behind,
        Err(Unreadable::Absent(BASE + 0x4000, Absence::BehindEnd))
    );
}
