use std::{
    fs::{self, File, Permissions},
    ops::Range,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rtops_elf::{Budget, Dwarf, Functions, Units};
use rtops_protocol::ModuleKind;
use rtops_types::{FileOffset, MapsLine, Svma};

use super::{entry, store::MAX_CACHE, *};
use crate::{Place, ask::Line};

fn program() -> Identity {
    Identity::of(&File::open("/proc/self/exe").unwrap()).unwrap()
}

/// Makes a key for a module whose file is this one.
fn key(build_id: u8, file: &Path) -> Key {
    let module = Module {
        path: "/srv/app".to_owned(),
        build_id: vec![build_id; 20],
        load_bias: 0,
        code: 0..1,
        kind: ModuleKind::MainExecutable,
    };
    Key::of(&program(), &module, &[File::open(file).unwrap()]).unwrap()
}

fn known(count: u64) -> Known {
    let frame = |number: u64| {
        let place = Place {
            file: format!("src/{}.rs", number % 7),
            line: 12,
            column: (number.is_multiple_of(2)).then_some(3),
        };
        Arc::new(Line {
            function: format!("app::f{number}"),
            place: Some(place),
        })
    };
    let main = Arc::new(Line {
        function: "app::main".to_owned(),
        place: None,
    });
    let found = (0..count).map(|address| {
        let found = Found {
            frames: vec![frame(address), Arc::clone(&main)],
            start: Some(Svma(address / 2)),
        };
        (Svma(address), found)
    });
    let polled = |entry: Svma| PolledBy {
        future_type: (entry > Svma(3)).then(|| "app::serve::{async_fn_env#0}".to_owned()),
        entry,
    };
    Known {
        found: found.collect(),
        pollers: (0..count / 10)
            .map(|poll| (Svma(poll), polled(Svma(poll))))
            .collect(),
        facts: Facts {
            is_read: true,
            lack: Some(LackReason::Stripped),
            source_directories: vec![PathBuf::from("/src/app")],
            segment: Some((Svma(0x1000)..Svma(0x9000), FileOffset(0x400))),
        },
    }
}

fn read(store: &Store, key: &Key) -> Option<Known> {
    store.read(key)
}

fn decode(key: &Key, entry: &[u8]) -> Option<Known> {
    entry::decode(key, &mut &*entry)
}

#[test]
fn what_was_written_is_read() {
    let caches = tempfile::tempdir().unwrap();
    let store = Store::open(caches.path()).unwrap();
    let key = key(1, Path::new("/proc/self/exe"));
    assert_eq!(read(&store, &key), None);
    // Up to several messages of each kind.
    for count in [0, 1, 40_000] {
        store.write(&key, &known(count)).unwrap();
        assert!(read(&store, &key) == Some(known(count)), "{count}");
    }
    assert_eq!(store.usage().unwrap().files, 1);
    store.clear().unwrap();
    assert_eq!(store.usage().unwrap(), Usage::default());
    assert_eq!(read(&store, &key), None);
}

#[test]
fn units_that_were_kept_are_those_of_the_file() {
    let exe = Path::new("/proc/self/exe");
    let budget = Arc::new(Budget::default());
    let elf = Elf::read(Arc::new(File::open(exe).unwrap()), &budget).unwrap();
    let elf = Arc::new(elf);
    let read = Dwarf::of(Arc::clone(&elf)).unwrap();
    assert!(read.units_read().is_none());
    let names = |dwarf: &Dwarf| -> Vec<String> {
        dwarf.unit_names().map(|unit| format!("{unit:?}")).collect()
    };
    let expected = names(&read);

    let caches = tempfile::tempdir().unwrap();
    let store = Store::open(caches.path()).unwrap();
    let key = key(1, exe);
    store.write(&key, &known(10)).unwrap();
    store.write(&key, read.units_read().unwrap()).unwrap();
    assert!(store.read(&key) == Some(known(10)));
    let kept = Dwarf::of(Arc::clone(&elf)).unwrap();
    let kept = kept.with_units(store.read(&key).unwrap());
    assert_eq!(names(&kept), expected);
    let functions = Functions::read(&elf).unwrap();
    let mut named = 0;
    for segment in elf.segments() {
        let Range { start, end } = segment.addresses;
        for address in (start.0..end.0).step_by(4099) {
            if let Some(function) = functions.at(Svma(address)) {
                let frames = kept.frames(function.start);
                assert_eq!(frames, read.frames(function.start), "{address:#x}");
                named += frames.len();
            }
        }
    }
    assert!(named > 100, "{named}");

    // Units that make no sense lead nowhere, and to no panic.
    let (_, claims) = read.units_read().unwrap().parts();
    let nowhere = Dwarf::of(elf).unwrap();
    let nowhere = nowhere.with_units(Units::of(Vec::new(), claims.to_vec()));
    let begin = functions.at(known_address()).unwrap().start;
    assert!(!kept.frames(begin).is_empty());
    nowhere.read_ahead(&[begin]);
    assert_eq!(nowhere.frames(begin), []);
}

/// The address in its file of a function in this program.
fn known_address() -> Svma {
    let maps = fs::read("/proc/self/maps").unwrap();
    let first = MapsLine::all(&maps).next().unwrap();
    Svma(known as *const () as u64 - first.addresses.start)
}

#[test]
fn another_file_or_build_has_entries_of_its_own() {
    let caches = tempfile::tempdir().unwrap();
    let file = caches.path().join("app");
    fs::write(&file, "one").unwrap();
    let first = key(1, &file);
    // The new file has the same name and the same length.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "two").unwrap();
    let others = [
        key(1, &file),
        key(2, &file),
        key(1, Path::new("/proc/self/exe")),
    ];
    let store = Store::open(caches.path()).unwrap();
    store.write(&first, &known(10)).unwrap();
    for other in others {
        assert_ne!(first, other);
        assert_eq!(read(&store, &other), None);
        // Nor is it accepted under the other name.
        let written = entry::encode(&first, &known(10)).unwrap();
        assert_eq!(decode(&other, &written), None);
    }
}

#[test]
fn a_module_without_a_build_id_is_not_kept() {
    let module = |build_id| Module {
        path: "/srv/app".to_owned(),
        build_id,
        load_bias: 0,
        code: 0..1,
        kind: ModuleKind::MainExecutable,
    };
    let file = || [File::open("/proc/self/exe").unwrap()];
    assert!(Key::of(&program(), &module(vec![1; 20]), &file()).is_some());
    assert!(Key::of(&program(), &module(Vec::new()), &file()).is_none());
    assert!(Key::of(&program(), &module(vec![1; 1 << 20]), &file()).is_none());
    assert!(Key::of(&program(), &module(vec![1; 20]), &[]).is_none());
}

#[test]
fn what_is_damaged_anywhere_is_not_believed() {
    let key = key(1, Path::new("/proc/self/exe"));
    let whole = entry::encode(&key, &known(20)).unwrap();
    assert!(decode(&key, &whole).is_some());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert_eq!(decode(&key, &damaged), None, "{at}");
        assert_eq!(decode(&key, &whole[..at]), None, "{at}");
    }
    let longer = [whole, vec![0]].concat();
    assert_eq!(decode(&key, &longer), None);
}

#[test]
fn what_is_forged_with_the_right_checksum_is_bounded() {
    let key = key(1, Path::new("/proc/self/exe"));
    let whole = entry::encode(&key, &known(20)).unwrap();
    for at in 16..whole.len() {
        for byte in [0, 0x7f, 0xfb, 0xfd, 0xff] {
            let mut forged = whole.clone();
            forged[at] = byte;
            let sum = crc32fast::hash(&forged[16..]);
            forged[8..12].copy_from_slice(&sum.to_le_bytes());
            // Names may differ; there is no panic and no great allocation.
            drop(decode(&key, &forged));
        }
    }
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let caches = tempfile::tempdir().unwrap();
    let store = Store::open(caches.path()).unwrap();
    let exe = Path::new("/proc/self/exe");
    for (build_id, age) in [(1, 300), (2, 100), (3, 200)] {
        store.write(&key(build_id, exe), &known(10)).unwrap();
        let path = fs::read_dir(store.directory()).unwrap().flatten();
        let name = format!("{build_id:02x}");
        let mut path = path.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name));
        let file = File::options()
            .write(true)
            .open(path.next().unwrap().path())
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    }
    // The oldest is used now. An empty file takes up nearly all of the room.
    assert!(read(&store, &key(1, exe)).is_some());
    let large = File::create(store.directory().join("large")).unwrap();
    large
        .set_modified(SystemTime::now() - Duration::from_secs(150))
        .unwrap();
    let small = entry::encode(&key(4, exe), &known(10)).unwrap().len() as u64;
    large.set_len(MAX_CACHE - 2 * small - small / 2).unwrap();
    large
        .set_modified(SystemTime::now() - Duration::from_secs(150))
        .unwrap();
    store.write(&key(4, exe), &known(10)).unwrap();
    let is_there = |build_id| read(&store, &key(build_id, exe)).is_some();
    assert!(!is_there(3));
    assert!(!store.directory().join("large").exists());
    assert!(is_there(1) && is_there(2) && is_there(4));
}

#[test]
fn a_file_that_was_never_finished_goes_after_a_while() {
    let caches = tempfile::tempdir().unwrap();
    let store = Store::open(caches.path()).unwrap();
    let (old, new) = (
        store.directory().join(".new-1"),
        store.directory().join(".new-2"),
    );
    File::create(&new).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(4000);
    File::create(&old).unwrap().set_modified(long_ago).unwrap();
    store
        .write(&key(1, Path::new("/proc/self/exe")), &known(1))
        .unwrap();
    assert!(!old.exists() && new.exists());
}

#[test]
fn two_that_write_at_once_leave_one_whole_file() {
    let caches = tempfile::tempdir().unwrap();
    let store = &Store::open(caches.path()).unwrap();
    let key = &key(1, Path::new("/proc/self/exe"));
    let (few, many) = (&known(10), &known(500));
    store.write(key, few).unwrap();
    thread::scope(|scope| {
        for known in [few, many] {
            scope.spawn(move || (0..100).for_each(|_| store.write(key, known).unwrap()));
        }
        for _ in 0..200 {
            let read = read(store, key).unwrap();
            assert!(read == *few || read == *many);
        }
    });
    assert_eq!(store.usage().unwrap().files, 1);
}

#[test]
fn only_a_directory_of_the_user_alone_is_used() {
    let caches = tempfile::tempdir().unwrap();
    let directory = caches.path().join("rtops");
    fs::create_dir(&directory).unwrap();
    for mode in [0o755, 0o770, 0o707] {
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        assert!(Store::open(caches.path()).is_err());
    }
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    assert!(Store::open(caches.path()).is_ok());
    // Whoever may write to the parent may replace the directory.
    fs::set_permissions(caches.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(Store::open(caches.path()).is_err());
    fs::set_permissions(caches.path(), Permissions::from_mode(0o755)).unwrap();
    fs::rename(&directory, caches.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &directory).unwrap();
    assert!(Store::open(caches.path()).is_err());
    // A missing directory is made, and nobody else may look into it.
    let new = caches.path().join("new");
    let store = Store::open(&new).unwrap();
    for made in [&*new, store.directory()] {
        assert_eq!(
            fs::metadata(made).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(store.directory(), Some(1), None).unwrap();
        assert!(Store::open(&new).is_err());
        std::os::unix::fs::chown(store.directory(), Some(0), None).unwrap();
        std::os::unix::fs::chown(&new, Some(1), None).unwrap();
        assert!(Store::open(&new).is_err());
    }
}
