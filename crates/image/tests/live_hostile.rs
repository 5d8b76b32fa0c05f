//! Tests that statements about a process may be wrong, and that its mappings may be traps.

mod common;

use std::{
    fs::{self, File},
    io::Write as _,
    ops::ControlFlow,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use common::live::image;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::geteuid,
};
use proptest::prelude::*;
use rtops_image::{
    Absence, Contents, FileOffset, Gap, Image, NoFile, Pid, Refused, Unreadable,
    live::{Live, Memory, Options, Parts},
};
use tempfile::{TempDir, tempdir, tempfile};

/// Makes parts with these mappings, and with memory in a file that has
/// these bytes at these addresses.
fn parts(maps: &[u8], pieces: &[(u64, &[u8])]) -> Parts {
    let mut file = tempfile().expect("a file");
    let mut length = 0;
    let pieces = pieces.iter().map(|(at, bytes)| {
        file.write_all(bytes).expect("space");
        let size = bytes.len() as u64;
        length += size;
        (*at..at.saturating_add(size), FileOffset(length - size))
    });
    let pieces = pieces.collect();
    Parts {
        pid: Pid::own(),
        maps: maps.to_vec(),
        auxv: Vec::new(),
        memory: Memory::Kept { file, pieces },
        pagemap: None,
        threads: Vec::new(),
        root: PathBuf::from("/"),
    }
}

/// Makes the same parts, with all memory in this process.
fn of_process(maps: &[u8]) -> Parts {
    let open = |name: &str| File::open(format!("/proc/self/{name}")).expect("Linux");
    Parts {
        memory: Memory::Process(open("mem")),
        pagemap: Some(open("pagemap")),
        ..parts(maps, &[])
    }
}

/// Reads everything in an image, and checks that it is consistent.
fn explore(live: &Live) {
    let mut behind = 0;
    for region in live.regions() {
        let range = &region.range;
        assert!(range.start >= behind && !range.is_empty(), "{region:?}");
        behind = range.end;
        let got = live.read(range.start, &mut [0; 1]);
        match region.contents {
            Contents::Present => assert!(!matches!(got, Err(Unreadable::Absent(..)))),
            Contents::Absent(why) => assert_eq!(got, Err(Unreadable::Absent(range.start, why))),
        }
        live.read(range.end - 1, &mut [0; 16]).ok();
        live.read_c_string(range.start, 64).ok();
    }
    for module in live.modules() {
        assert!(!module.code.is_empty() && !module.mapped.is_empty());
    }
    for gap in live.gaps() {
        let text = gap.to_string();
        assert!(text.len() > 20 && !text.ends_with('.'), "{text}");
    }
    live.read(u64::MAX - 3, &mut [0; 16]).ok();
    live.for_each_chunk(&mut |_, bytes| {
        assert!(!bytes.is_empty());
        ControlFlow::Continue(())
    })
    .ok();
}

/// Generates a line that the kernel could have written, or nearly.
fn line() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (0_u64..64).prop_map(|page| page << 12),
        Just(u64::MAX),
        Just(u64::MAX << 12),
        Just(1 << 47),
        any::<u64>(),
    ];
    let name = prop_oneof![
        Just("/bin/sh"),
        Just("/bin/sh (deleted)"),
        Just("/dev/zero"),
        Just("/dev/null"),
        Just("/proc/self/environ"),
        Just("[heap]"),
        Just("[vdso]"),
        Just("[vvar]"),
        Just("[anon:a b]"),
        Just("[]"),
        Just("anon_inode:[perf_event]"),
        Just("/memfd:\\012\\01\\"),
        Just("../../etc"),
        Just(""),
    ];
    let access = prop_oneof![
        Just("rw-p"),
        Just("r-xp"),
        Just("rw-s"),
        Just("---p"),
        Just("rwxprw"),
        Just("")
    ];
    (
        number.clone(),
        number.clone(),
        access,
        number,
        name,
        0..4_u32,
    )
        .prop_map(|(start, end, access, offset, name, device)| {
            format!("{start:x}-{end:x} {access} {offset:08x} 0{device}:01 {device}       {name}\n")
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_lines_make_an_image_that_holds_together(
        lines in prop::collection::vec(line(), 0..40),
        is_sorted in any::<bool>(),
        auxv in prop::collection::vec(any::<u8>(), 0..64),
        pieces in prop::collection::vec((0_u64..64, 0_u64..5, any::<u64>()), 0..8),
    ) {
        let mut lines = lines;
        if is_sorted {
            lines.sort_by_key(|line| {
                let start = line.split('-').next().unwrap_or_default();
                u64::from_str_radix(start, 16).unwrap_or(0)
            });
        }
        let maps = lines.concat().into_bytes();
        let claimed = pieces.iter().map(|(page, pages, offset)| {
            let start = page << 12;
            (start..start + (pages << 12), FileOffset(*offset))
        });
        let mut kept = parts(&maps, &[]);
        if let Memory::Kept { pieces, .. } = &mut kept.memory {
            pieces.extend(claimed);
        }
        kept.auxv = auxv;
        for parts in [kept, of_process(&maps)] {
            if let Ok(live) = Live::new(parts, &Options::default()) {
                explore(&live);
            }
        }
    }

    #[test]
    fn any_text_is_taken(maps in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(live) = Live::new(parts(&maps, &[]), &Options::default()) {
            explore(&live);
        }
    }

    #[test]
    fn any_head_is_taken(
        mut head in prop::collection::vec(any::<u8>(), 4096),
        counts in any::<[u8; 4]>(),
        is_plausible in any::<bool>(),
    ) {
        head[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
        if is_plausible {
            // The segment table follows the header and contains all segments.
            head[32..40].copy_from_slice(&64_u64.to_le_bytes());
            head[54..58].copy_from_slice(&[56, 0, counts[0], counts[1] % 2]);
            for index in 0..70 {
                let at = 64 + 56 * index;
                let kind = u32::from(counts[index % 4] % 8);
                if let Some(field) = head.get_mut(at..at + 4) {
                    field.copy_from_slice(&kind.to_le_bytes());
                }
            }
        }
        let maps = b"10000-11000 r-xp 00000000 fe:00 7          /nowhere/a\n\
                     11000-12000 rw-p 00001000 fe:00 7          /nowhere/a\n\
                     20000-21000 r-xp 00000000 00:00 0          [vdso]\n";
        let live = image(parts(maps, &[(0x10000, &head), (0x20000, &head)]));
        explore(&live);
    }
}

#[test]
fn lines_that_can_not_be_are_left_out() {
    let maps = b"10000-12000 rw-p 00000000 00:00 0 \n\
                 11000-13000 rw-p 00000000 00:00 0 \n\
                 14000-14000 rw-p 00000000 00:00 0 \n\
                 15001-16000 rw-p 00000000 00:00 0 \n\
                 nonsense\n\
                 17000-18000 rw-p 00000000 00:00 0                          [anon:a name]\n\
                 18000-19000 r--s 00000000 00:01 7                          /memfd:a\\012b (deleted)\n\
                 19000-1a";
    let live = image(parts(maps, &[(0x11000, &[7; 0x1000])]));
    let ranges = live.regions().iter().map(|region| region.range.clone());
    let expected = [
        0x10000..0x11000,
        0x11000..0x12000,
        0x17000..0x18000,
        0x18000..0x19000,
    ];
    assert!(ranges.eq(expected));
    assert!(
        live.gaps().contains(&Gap::Contradictions(5)),
        "{:?}",
        live.gaps()
    );
    assert_eq!(live.read_u32(0x11ffc), Ok(0x0707_0707));
    let absent = Unreadable::Absent(0x12000 - 0x1001, Absence::NotKept);
    assert_eq!(live.read(0x10fff, &mut [0; 2]), Err(absent));
    let named = live.region_of(0x18000).expect("mapped");
    assert!(format!("{:?}", named.backing).contains("/memfd:a\\nb (deleted)"));
    let unread = Gap::Unread {
        bytes: 0x2000,
        ranges: 2,
        why: Absence::NotKept,
    };
    assert!(live.gaps().contains(&unread), "{:?}", live.gaps());
}

#[test]
fn endless_lists_are_cut() {
    let mut maps = Vec::new();
    for index in 0_u64..(1 << 20) + 5 {
        let start = 0x10000 + (index << 13);
        let end = start + 0x1000;
        writeln!(
            maps,
            "{start:x}-{end:x} r--p 00000000 fe:00 7    /nowhere/{index}"
        )
        .expect("text");
    }
    let live = image(parts(&maps, &[]));
    assert_eq!(live.regions().len(), 1 << 20);
    assert!(live.gaps().contains(&Gap::TooMany("mappings", 1 << 20)));
}

#[test]
fn a_reservation_without_measure_is_left_out() {
    // 16 TiB, as sanitizers reserve them, followed by a page.
    let maps = b"100000000000-200000000000 rw-p 00000000 00:00 0 \n\
                 200000000000-200000001000 rw-p 00000000 00:00 0 \n";
    let live = image(of_process(maps));
    let contents: Vec<_> = live
        .regions()
        .iter()
        .map(|region| region.contents)
        .collect();
    let too_much = Contents::Absent(Absence::TooMuch);
    assert_eq!(contents, [too_much, Contents::Present]);
    explore(&live);
}

/// Returns why the mapping of a file is not read if it is said to be on this file system.
fn absence(device: &str, inode: u64, path: &Path) -> Option<Absence> {
    let path = path.display();
    let maps = format!("10000-11000 r--p 00000000 {device} {inode}            {path}\n");
    let live = image(of_process(maps.as_bytes()));
    match live.regions()[0].contents {
        Contents::Present => None,
        Contents::Absent(why) => Some(why),
    }
}

/// Returns the device and inode of a file as the kernel shows them.
fn device(path: &Path) -> (String, u64) {
    let metadata = fs::metadata(path).expect("it is there");
    let (major, minor) = (
        nix::libc::major(metadata.dev()),
        nix::libc::minor(metadata.dev()),
    );
    (format!("{major:02x}:{minor:02x}"), metadata.ino())
}

#[test]
fn files_are_judged_by_what_they_are_of() {
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "a file").expect("space");
    let (disk, inode) = device(&file);
    assert_eq!(absence(&disk, inode, &file), None);
    // Its name may be gone.
    let gone = Path::new("/nowhere/a (deleted)");
    assert_eq!(absence(&device_of_this(), inode, gone), None);
    for (path, why) in [
        ("/dev/null", Absence::Device),
        ("/proc/self/environ", Absence::FileSystem),
        ("/sys/kernel/uevent_seqnum", Absence::FileSystem),
    ] {
        let path = Path::new(path);
        if path.exists() {
            let (device, inode) = device(path);
            assert_eq!(absence(&device, inode, path), Some(why), "{path:?}");
        }
    }
    // A device node may be on a disk.
    assert_eq!(
        absence(&disk, 7, Path::new("/dev/null")),
        Some(Absence::Device)
    );
    // A file system that is mounted nowhere is accepted if the same file is there.
    assert_eq!(absence("00:fff", inode, &file), None);
    let unknown = Some(Absence::FileSystem);
    assert_eq!(absence("00:fff", inode + 1, &file), unknown);
    assert_eq!(absence("00:fff", inode, Path::new("/nowhere/a")), unknown);
    for path in ["anon_inode:[perf_event]", "socket:[77]", "a"] {
        assert_eq!(absence("00:10", 7, Path::new(path)), Some(Absence::Device));
    }
}

/// Returns the device that the kernel shows for this program.
fn device_of_this() -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
    let this = std::env::current_exe().expect("Linux");
    let this = this.to_str().expect("a path");
    let line = maps.lines().find(|line| line.ends_with(this));
    let device = line.and_then(|line| line.split(' ').nth(3));
    device.expect("a device").to_owned()
}

/// A FUSE file system that nobody serves: every request waits.
struct Fuse {
    place: TempDir,
    _connection: File,
}

impl Fuse {
    fn mount() -> Self {
        let place = tempdir().expect("a directory");
        let mut options = File::options();
        let connection = options.read(true).write(true).open("/dev/fuse");
        let connection = connection.expect("the kernel has it");
        let with = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            connection.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let mounted = mount(
            Some("nobody"),
            place.path(),
            Some("fuse"),
            flags,
            Some(&*with),
        );
        mounted.expect("root may mount");
        Self {
            place,
            _connection: connection,
        }
    }

    /// Returns its device as the kernel shows it, without a request.
    fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("Linux");
        let place = self.place.path().to_str().expect("a path");
        let line = mounts.lines().find(|line| line.contains(place));
        let device = line
            .and_then(|line| line.split(' ').nth(2))
            .expect("a device");
        let (major, minor) = device.split_once(':').expect("two numbers");
        let minor: u32 = minor.parse().expect("a number");
        format!("{major:0>2}:{minor:02x}")
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        umount2(self.place.path(), MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn a_file_system_that_somebody_serves_is_not_asked() {
    if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        let text = "skipped: only root can mount a FUSE, where the kernel has that\n";
        std::io::stderr()
            .write_all(text.as_bytes())
            .expect("standard error");
        return;
    }
    let fuse = Fuse::mount();
    let path = fuse.place.path().join("file");
    let why = absence(&fuse.device(), 7, &path);
    assert_eq!(why, Some(Absence::FileSystem));
    // Reading the file of a module does not wait either.
    let device = fuse.device();
    let maps = |end: u32| {
        let path = path.display();
        format!("10000-{end:x} r-xp 00000000 {device} 7            {path}\n")
    };
    let live = image(parts(maps(0x11000).as_bytes(), &[]));
    assert!(live.modules().is_empty());
    let unread = Gap::Unread {
        bytes: 0x1000,
        ranges: 1,
        why: Absence::FileSystem,
    };
    assert!(live.gaps().contains(&unread), "{:?}", live.gaps());
    // This holds even if its memory was kept.
    let directory = tempdir().expect("a directory");
    let library = directory.path().join("library.so");
    common::compile_of("library.c", &library, &["-shared", "-fPIC"]);
    let mut library = fs::read(library).expect("the library");
    library.resize(0x10000, 0);
    let live = image(parts(maps(0x20000).as_bytes(), &[(0x10000, &library)]));
    let module = live.modules().first().expect("the library");
    let refused = NoFile::Refused(path, Refused::FileSystem);
    assert_eq!(module.file.as_ref().err(), Some(&refused));
}
