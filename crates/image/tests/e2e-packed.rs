//! Tests compressed cores, as systemd-coredump writes them.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use common::{
    Program,
    forged::{Forged, Segment},
    no_kernel_core,
};
use proptest::prelude::*;
use rtops_image::{Contents, Core, Error, Gap, Image, Options};

/// A core, and its compressed forms.
struct Cores {
    program: Program,
    plain: PathBuf,
    packed: Vec<PathBuf>,
}

fn cores() -> Option<&'static Cores> {
    static CORES: OnceLock<Option<Cores>> = OnceLock::new();
    let cores = CORES.get_or_init(|| {
        let program = Program::keep("packed", &["-static"]);
        let plain = program.start().die('s')?;
        let packed = [
            pack("zstd", &["-q", "-3"], &plain, "zst"),
            pack("zstd", &["-q", "-19", "--no-check"], &plain, "best"),
            pack("lz4", &["-q", "-1"], &plain, "lz4"),
            pack(
                "lz4",
                &["-q", "-9", "-BD", "--content-size"],
                &plain,
                "linked",
            ),
        ];
        Some(Cores {
            packed: packed.into(),
            plain,
            program,
        })
    });
    cores.as_ref()
}

fn pack(tool: &str, flags: &[&str], plain: &Path, ending: &str) -> PathBuf {
    let packed = plain.with_extension(ending);
    // From a pipe, as systemd does it: the size is not known beforehand.
    let input = fs::File::open(plain).expect("the core");
    let output = Command::new(tool)
        .args(flags)
        .arg("-c")
        .stdin(input)
        .output()
        .unwrap_or_else(|error| panic!("these tests need {tool}: install it ({error})"));
    assert!(output.status.success(), "{output:?}");
    fs::write(&packed, output.stdout).expect("written");
    packed
}

fn open(path: &Path) -> Core {
    Core::open(path, &Options::default()).expect("a core")
}

/// Compares all known memory of the second core with the first.
fn assert_same(plain: &Core, packed: &Core) {
    let known = |core: &Core| {
        let known = core
            .regions()
            .iter()
            .filter(|region| region.contents == Contents::Present);
        known.map(|region| region.range.clone()).collect::<Vec<_>>()
    };
    for range in known(packed) {
        let size = usize::try_from(range.end - range.start).expect("small");
        let (mut left, mut right) = (vec![0; size], vec![0; size]);
        plain.read(range.start, &mut left).expect("known");
        packed.read(range.start, &mut right).expect("known");
        assert!(left == right, "{range:x?} differs");
    }
}

#[test]
fn packed_cores_are_the_same() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    let plain = open(&cores.plain);
    for path in &cores.packed {
        let packed = open(path);
        assert_eq!(packed.regions(), plain.regions(), "{}", path.display());
        assert_eq!(packed.threads(), plain.threads());
        assert_eq!(packed.head(), plain.head());
        assert_eq!(packed.gaps(), plain.gaps());
        assert_same(&plain, &packed);
    }
}

#[test]
fn several_frames_are_one_file() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    let bytes = fs::read(&cores.plain).expect("the core");
    let (front, back) = bytes.split_at(bytes.len() / 3);
    let part = cores.program.dir.join("part");
    // A frame to skip, and two with data.
    let mut whole = b"\x50\x2a\x4d\x18\x05\0\0\0skip!".to_vec();
    for half in [front, back] {
        fs::write(&part, half).expect("written");
        whole.extend(fs::read(pack("zstd", &["-q"], &part, "half")).expect("packed"));
    }
    let joined = part.with_extension("joined");
    fs::write(&joined, whole).expect("written");
    let joined = open(&joined);
    assert_eq!(joined.gaps(), open(&cores.plain).gaps());
    assert_same(&open(&cores.plain), &joined);
}

#[test]
fn limits_leave_a_part_and_are_said() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    let plain = open(&cores.plain);
    let size = fs::metadata(&cores.plain).expect("the core").len();
    let most = size / 2;
    for path in &cores.packed {
        let options = |max_unpacked| Options {
            max_unpacked,
            ..Options::default()
        };
        let half = Core::open(path, &options(most)).expect("a core");
        assert_eq!(half.gaps().first(), Some(&Gap::UnpackLimit(most)));
        // Advice on how to get uncut cores would be wrong here.
        let is_cut = |gap: &Gap| matches!(gap, Gap::Truncated(_));
        assert!(!half.gaps().iter().any(is_cut), "{:?}", half.gaps());
        assert_same(&plain, &half);
        let exact = Core::open(path, &options(size)).expect("a core");
        assert_eq!(exact.gaps(), plain.gaps());
    }
}

/// Set for this program when it runs again with its own small file system.
const SCRATCH: &str = "RTOPS_IMAGE_SCRATCH";

#[test]
fn a_full_file_system_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("core");
    if let Some(scratch) = std::env::var_os(SCRATCH) {
        let core = PathBuf::from(&scratch).join("../core.zst");
        let options = Options {
            scratch: Some(scratch.into()),
            ..Options::default()
        };
        let core = Core::open(&core, &options).expect("a part of a core");
        let said = core.gaps().first();
        let Some(Gap::UnpackSpace(_, unpacked)) = said else {
            panic!("{said:?}");
        };
        assert!((1 << 20..48 << 20).contains(unpacked), "{unpacked}");
        assert!(core.read_u64(0x10_0000).is_ok());
        assert!(core.read_u64(0x10_0000 + (47 << 20)).is_err());
        return;
    }
    // Data that can't be left out as zeros.
    let mut core = Forged {
        data: vec![7; 48 << 20],
        ..Forged::default()
    };
    core.segments.push(Segment {
        address: 0x10_0000,
        in_memory: 48 << 20,
        offset: Forged::data_at(1, 0),
        in_file: 48 << 20,
        flags: 6,
    });
    core.write(&path);
    pack("zstd", &["-q"], &path, "zst");
    let scratch = directory.path().join("scratch");
    fs::create_dir(&scratch).expect("made");
    // rtops leaves 256 MiB to others.
    let script =
        r#"mount -t tmpfs -o size=280m none "$RTOPS_IMAGE_SCRATCH" && exec "$0" --exact "$1""#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this program"))
        .arg("a_full_file_system_is_said")
        .env(SCRATCH, &scratch)
        .output()
        .expect("this test needs unshare: install util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{output:?}");
}

#[test]
fn what_systemd_says_beside_the_core() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    let path = cores.program.dir.join("attributes.zst");
    fs::copy(cores.packed.first().expect("one"), &path).expect("copied");
    let silent = open(&path);
    assert_eq!(
        (silent.head().time, silent.head().host.as_deref()),
        (None, None)
    );
    let flags = rustix::fs::XattrFlags::empty();
    for (name, value) in [
        ("hostname", &b"web-7"[..]),
        ("timestamp", b"1700000000123456"),
    ] {
        let name = format!("user.coredump.{name}");
        rustix::fs::setxattr(&path, name, value, flags).expect("a file system with attributes");
    }
    let head = open(&path).head().clone();
    let since = Duration::from_micros(1_700_000_000_123_456);
    assert_eq!(head.time, Some(SystemTime::UNIX_EPOCH + since));
    assert_eq!(head.host.as_deref(), Some("web-7"));
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    let options = Options {
        scratch: Some("/nowhere".into()),
        ..Options::default()
    };
    let path = cores.packed.first().expect("one");
    let error = Core::open(path, &options)
        .expect_err("no directory")
        .to_string();
    assert!(
        error.contains("/nowhere") && error.contains("TMPDIR"),
        "{error}"
    );
}

#[test]
fn a_window_that_is_too_large_is_refused() {
    // A frame that needs a window of 2 GiB, with an empty block.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0";
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("core.zst");
    fs::write(&path, frame).expect("written");
    let error = Core::open(&path, &Options::default()).expect_err("nothing in it");
    let is_said = error.to_string().to_lowercase().contains("window");
    assert!(
        matches!(error, Error::NothingUnpacked(..)) && is_said,
        "{error}"
    );
}

#[test]
fn a_file_that_ends_too_early_is_said_in_one_sentence() {
    let Some(cores) = cores() else {
        return no_kernel_core();
    };
    for (path, number) in cores.packed.iter().zip(0..) {
        let bytes = fs::read(path).expect("packed");
        let part = cores.program.dir.join(format!("early-{number}"));
        fs::write(&part, &bytes[..bytes.len() / 2]).expect("written");
        let said = match Core::open(&part, &Options::default()) {
            Ok(core) => core.gaps().first().expect("a gap").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            said.contains("the compressed core file is cut short"),
            "{said}"
        );
        assert!(
            !said.contains("ulimit") && !said.contains("Error"),
            "{said}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// If it is cut or changed anywhere, this gives an error or the data before the damage.
    #[test]
    fn damaged_anywhere(which in 0..4_usize, part in 0.0..1.0_f64, change in any::<Option<u8>>()) {
        if let Some(cores) = cores() {
            let mut bytes = fs::read(&cores.packed[which]).expect("packed");
            let at = (bytes.len() as f64 * part) as usize;
            match change {
                Some(change) => bytes[at] ^= change,
                None => bytes.truncate(at),
            }
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("damaged");
            fs::write(&path, bytes).expect("written");
            if let Ok(core) = Core::open(&path, &Options::default()) {
                for region in core.regions() {
                    core.read_u64(region.range.start).ok();
                }
                if change.is_none() {
                    assert_same(&open(&cores.plain), &core);
                }
            }
        }
    }

    /// Any bytes after the magic number of a compressed file.
    #[test]
    fn any_bytes(is_zstd in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let magic: &[u8] = if is_zstd { b"\x28\xb5\x2f\xfd" } else { b"\x04\x22\x4d\x18" };
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("any");
        fs::write(&path, [magic, &bytes].concat()).expect("written");
        drop(Core::open(&path, &Options::default()));
    }
}
