//! Tests that memory that a core does not hold is read from files, and only from the right ones.

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use common::{Program, compile, no_kernel_core};
use rtops_image::{
    Absence, Core, Gap, Image, ImageModule, ModuleKind, NoFile, Options, Refused, Unreadable,
};

/// Returns a core of a program, and the address of the program's constant.
fn core_of(program: &Program) -> Option<(PathBuf, u64)> {
    let victim = program.start();
    let constant = victim.place("constant").start;
    Some((victim.die('s')?, constant))
}

fn main_of(core: &Core) -> &ImageModule {
    let main = core
        .modules()
        .iter()
        .find(|module| module.kind == ModuleKind::MainExecutable);
    main.expect("the program")
}

fn constant(core: &Core, at: u64) -> Result<Vec<u8>, Unreadable> {
    core.read_c_string(at, 100)
}

/// Returns all messages about the program's file.
fn said(core: &Core) -> Vec<String> {
    let gaps = core
        .gaps()
        .iter()
        .filter(|gap| !matches!(gap, Gap::LeftOut { .. }));
    gaps.map(ToString::to_string).collect()
}

#[test]
fn the_program_is_looked_up_named_or_missed() {
    let program = Program::build(&[]);
    let Some((path, at)) = core_of(&program) else {
        return no_kernel_core();
    };
    let there = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&there, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );
    assert_eq!(said(&there), Vec::<String>::new());

    let moved = program.dir.join("moved");
    fs::rename(&program.path, &moved).expect("moved");
    let missing = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&missing, at),
        Err(Unreadable::Absent(at, Absence::NoFile))
    );
    let why = main_of(&missing).file.as_ref().err();
    assert_eq!(why, Some(&NoFile::NotFound(program.path.clone())));
    let sentence = format!(
        "the program's file is missing: {} does not exist here; name the right one with --exe FILE",
        program.path.display()
    );
    assert_eq!(said(&missing), [sentence]);
    // What the core itself holds is known all the same.
    assert!(!main_of(&missing).build_id.is_empty());

    let options = Options {
        exe: Some(moved.clone()),
        ..Options::default()
    };
    let named = Core::open(&path, &options).expect("a core");
    assert_eq!(
        constant(&named, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );
    assert_eq!(
        main_of(&named).file.as_ref().map(|file| file.path.clone()),
        Ok(moved)
    );
}

#[test]
fn another_build_is_refused() {
    let program = Program::build(&[]);
    let Some((path, at)) = core_of(&program) else {
        return no_kernel_core();
    };
    fs::remove_file(&program.path).expect("removed");
    compile(&program.path, &["-DOTHER", "-O0"]);
    let core = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&core, at),
        Err(Unreadable::Absent(at, Absence::NoFile))
    );
    let why = main_of(&core).file.as_ref().err();
    assert_eq!(why, Some(&NoFile::OtherBuild(program.path.clone())));
}

#[test]
fn without_a_build_id_the_headers_are_compared() {
    let program = Program::build(&["-Wl,--build-id=none"]);
    let Some((path, at)) = core_of(&program) else {
        return no_kernel_core();
    };
    let core = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&core, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );
    assert_eq!(
        core.gaps().first(),
        Some(&Gap::NoBuildId(program.path.clone()))
    );
    fs::remove_file(&program.path).expect("removed");
    compile(&program.path, &["-Wl,--build-id=none", "-O0"]);
    let core = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&core, at),
        Err(Unreadable::Absent(at, Absence::NoFile))
    );
}

#[test]
fn a_file_that_was_replaced_is_known_by_its_build_id() {
    let program = Program::build(&[]);
    let victim = program.start();
    let at = victim.place("constant").start;
    let bytes = fs::read(&program.path).expect("the program");
    fs::remove_file(&program.path).expect("removed");
    let Some(path) = victim.die('s') else {
        return no_kernel_core();
    };
    let gone = Core::open(&path, &Options::default()).expect("a core");
    assert!(
        main_of(&gone)
            .path
            .to_string_lossy()
            .ends_with("/victim (deleted)")
    );
    assert_eq!(
        constant(&gone, at),
        Err(Unreadable::Absent(at, Absence::NoFile))
    );
    // The same build is put there again.
    fs::write(&program.path, bytes).expect("written");
    let again = Core::open(&path, &Options::default()).expect("a core");
    assert_eq!(
        constant(&again, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );
    assert_eq!(said(&again), Vec::<String>::new());
}

#[test]
fn a_sysroot_stands_for_the_root() {
    let program = Program::build(&[]);
    let Some((path, at)) = core_of(&program) else {
        return no_kernel_core();
    };
    let root = tempfile::tempdir().expect("a directory");
    let options = Options {
        sysroot: Some(root.path().to_owned()),
        ..Options::default()
    };
    let empty = Core::open(&path, &options).expect("a core");
    assert!(empty.modules().iter().all(|module| module.file.is_err()));
    assert_eq!(
        constant(&empty, at),
        Err(Unreadable::Absent(at, Absence::NoFile))
    );
    let ways = said(&empty);
    assert!(
        ways.iter().any(|gap| gap.contains("--exe FILE")),
        "{ways:?}"
    );
    assert!(
        ways.iter().any(|gap| gap.contains("--sysroot DIR")),
        "{ways:?}"
    );

    let full = Core::open(&path, &Options::default()).expect("a core");
    for module in full
        .modules()
        .iter()
        .filter(|module| module.kind != ModuleKind::Vdso)
    {
        let below = root
            .path()
            .join(module.path.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(below.parent().expect("a directory")).expect("made");
        fs::copy(&module.path, &below).expect("copied");
    }
    let filled = Core::open(&path, &options).expect("a core");
    assert_eq!(
        constant(&filled, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );
    let files = filled
        .modules()
        .iter()
        .filter_map(|module| module.file.as_ref().ok());
    assert!(files.clone().count() > 1);
    assert!(files.clone().all(|file| file.path.starts_with(root.path())));

    // A link below the root leads to a place below the root.
    let below = root
        .path()
        .join(program.path.strip_prefix("/").expect("absolute"));
    fs::rename(&below, root.path().join("inside")).expect("moved");
    symlink("/inside", &below).expect("a link");
    let linked = Core::open(&path, &options).expect("a core");
    assert_eq!(
        constant(&linked, at).as_deref(),
        Ok(&b"constant of the file"[..])
    );

    let nowhere = Options {
        sysroot: Some(root.path().join("nowhere")),
        ..Options::default()
    };
    let nothing = Core::open(&path, &nowhere).expect("a core");
    assert!(
        said(&nothing)
            .iter()
            .any(|gap| gap.contains("can't be opened as a directory"))
    );
}

#[test]
fn what_is_no_plain_file_is_not_opened() {
    let program = Program::build(&[]);
    let Some((path, _)) = core_of(&program) else {
        return no_kernel_core();
    };
    fs::remove_file(&program.path).expect("removed");
    let mode = nix::sys::stat::Mode::S_IRUSR;
    nix::unistd::mkfifo(&program.path, mode).expect("a pipe");
    let pipe = Core::open(&path, &Options::default()).expect("a core");
    let refused = NoFile::Refused(program.path.clone(), Refused::NotRegular);
    assert_eq!(main_of(&pipe).file.as_ref().err(), Some(&refused));
    fs::remove_file(&program.path).expect("removed");
    symlink("/proc/self/status", &program.path).expect("a link");
    let made_up = Core::open(&path, &Options::default()).expect("a core");
    let refused = NoFile::Refused(program.path.clone(), Refused::FileSystem);
    assert_eq!(main_of(&made_up).file.as_ref().err(), Some(&refused));
    // Opening a core that is a pipe does not wait either.
    fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, mode).expect("a pipe");
    let error = Core::open(&path, &Options::default()).expect_err("a pipe");
    assert!(
        matches!(error, rtops_image::Error::NotRegular(_)),
        "{error}"
    );
    assert!(Core::open(Path::new("/proc"), &Options::default()).is_err());
}

#[test]
fn a_file_cut_under_us_is_an_error() {
    let program = Program::build(&["-static"]);
    let Some((path, at)) = core_of(&program) else {
        return no_kernel_core();
    };
    let core = Core::open(&path, &Options::default()).expect("a core");
    fs::set_permissions(&program.path, fs::Permissions::from_mode(0o600)).expect("writable");
    fs::File::options()
        .write(true)
        .open(&program.path)
        .expect("opened")
        .set_len(64)
        .expect("cut");
    assert!(matches!(constant(&core, at), Err(Unreadable::Io(..))));
}

/// Tests every filter: the core's contents are right, and the rest is reported as unknown.
#[test]
fn filters_leave_out_and_nothing_else() {
    let program = Program::build(&[]);
    for filter in 0..0x80 {
        let mut victim = program.start();
        victim.set_filter(filter);
        let stopped = victim.stop(nix::sys::signal::Signal::SIGSEGV);
        let maps = stopped.maps();
        let readable = maps.iter().filter(|map| map.access.starts_with('r'));
        let memory: Vec<_> = readable
            .filter_map(|map| Some((map, stopped.read(map.range.clone())?)))
            .collect();
        let Some(path) = stopped.die() else {
            return no_kernel_core();
        };
        let core = Core::open(&path, &Options::default()).expect("a core");
        for (map, bytes) in memory {
            for (index, page) in bytes.chunks(4096).enumerate() {
                let address = map.range.start + 4096 * index as u64;
                let mut got = vec![0; page.len()];
                if core.read(address, &mut got).is_ok() {
                    assert!(
                        got == page,
                        "filter {filter:#x}: {address:#x} in {map:?} differs"
                    );
                }
            }
        }
        let is_known = |name| core.read_u64(victim.place(name).start).is_ok();
        let has = |bit: u32| filter >> bit & 1 == 1;
        assert_eq!(is_known("own"), has(0), "{filter:#x}");
        assert_eq!(is_known("data"), has(0) || has(2), "{filter:#x}");
        assert_eq!(is_known("shared"), has(1), "{filter:#x}");
        assert!(is_known("constant"), "{filter:#x}");
        assert!(!is_known("hidden"), "{filter:#x}");
        let no_heads = core.gaps().contains(&Gap::NoHeads);
        assert_eq!(
            no_heads,
            !has(4) && !has(2),
            "{filter:#x}: {:?}",
            core.gaps()
        );
        let unknown = core.gaps().contains(&Gap::WrittenLeftOut);
        assert_eq!(
            unknown,
            !has(0) && !has(2),
            "{filter:#x}: {:?}",
            core.gaps()
        );
        assert_eq!(core.threads().len(), 3);
        fs::remove_file(path).expect("removed");
    }
}
