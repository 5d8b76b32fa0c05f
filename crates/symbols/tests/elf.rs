//! Real programs, built by rustc in several ways, and files that are no programs.
#![allow(clippy::unwrap_used)]

#[path = "common/target.rs"]
mod target;

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, sync::Arc};

use rtops_symbols::{
    Address, FileOffset, Function, LackReason, Missed, Module, ModuleKind, Options, Segment,
    Symbol, Symbols,
};
use target::Target;

/// Prints an address in itself, and waits for the end of its input.
const PROGRAM: &str = r#"
mod shop {
    #[inline(never)]
    pub fn outer(n: u64) -> u64 {
        inner(n) + 1
    }
    #[inline(always)]
    fn inner(n: u64) -> u64 {
        std::hint::black_box(return_address(n))
    }
    #[inline(never)]
    fn return_address(n: u64) -> u64 {
        let address: u64;
        // SAFETY: reads the return address of a frame that has a frame pointer.
        unsafe { std::arch::asm!("mov {}, [rbp + 8]", out(reg) address) };
        std::hint::black_box(n) + address
    }
}
fn main() {
    println!("{}", shop::outer(0) - 1);
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
"#;

fn start(flags: &[&str]) -> Target {
    Target::start("shop", &[("shop.rs", PROGRAM)], flags)
}

fn names(frames: &[Arc<Symbol>]) -> Vec<&str> {
    let names = frames.iter().map(|frame| match &frame.function {
        Function::Named(name) => name.as_str(),
        other => panic!("no name: {other:?}"),
    });
    names.collect()
}

fn line(frame: &Symbol) -> (&str, u32) {
    let place = frame.place.as_ref().unwrap();
    (&place.file, place.line)
}

#[test]
fn inlined_frames_have_names_and_lines() {
    for debug in ["line-tables-only", "limited", "full"] {
        let target = start(&["-C", &format!("debuginfo={debug}")]);
        let module = target.module(ModuleKind::MainExecutable);
        let (frames, lacks) = target.frames(module, target.options());
        let [inner, outer] = frames.as_slice() else {
            panic!("{debug}: {frames:?}");
        };
        // Line tables leave out the path of what is inlined: `inner` is in the crate's file.
        let expected = if debug == "line-tables-only" {
            "shop::inner"
        } else {
            "shop::shop::inner"
        };
        assert_eq!(names(&frames), [expected, "shop::shop::outer"]);
        assert_eq!((line(inner), line(outer)), (("shop.rs", 9), ("shop.rs", 5)));
        assert_eq!(lacks, [], "{debug}");
    }
}

#[test]
fn a_function_begins_where_its_symbol_does() {
    let target = start(&["-Cdebuginfo=1"]);
    let module = target.module(ModuleKind::MainExecutable);
    let mut symbols = Symbols::new(vec![module], target.options());
    let mut at = |address| symbols.resolve(&[address]).remove(&address).unwrap();
    let call = at(Address::ReturnAddress(target.address));
    let start = call.start.unwrap();
    assert!(start < target.address);
    // Padding before the function belongs neither to it nor to another one.
    let first = at(Address::InstructionPointer(start));
    assert_eq!(names(&first.frames).last(), Some(&"shop::shop::outer"));
    let before = at(Address::InstructionPointer(start - 1));
    assert_ne!(before.start, call.start);
}

#[test]
fn segments_are_where_the_kernel_mapped_them() {
    for (flags, has_functions, has_lines) in [
        (&["-Cdebuginfo=1"], true, true),
        (&["-Cdebuginfo=0"], true, false),
        (&["-Cstrip=symbols"], false, false),
    ] {
        let target = start(flags);
        let module = target.module(ModuleKind::MainExecutable);
        let mut symbols = Symbols::new(vec![module.clone()], target.options());
        assert_eq!(symbols.segments(), []);
        symbols.resolve(&[Address::ReturnAddress(target.address)]);
        let maps = fs::read_to_string(format!("/proc/{}/maps", target.child.id())).unwrap();
        let mapped = maps.lines().find(|line| line.contains("r-xp")).unwrap();
        let offset = mapped.split(' ').nth(2).unwrap();
        let expected = Segment {
            path: module.path,
            build_id: module.build_id,
            memory: module.code,
            file_offset: FileOffset(u64::from_str_radix(offset, 16).unwrap()),
            has_functions,
            has_lines,
        };
        assert_eq!(symbols.segments(), [expected], "{flags:?}");
    }
}

#[test]
fn without_debug_info_the_symbol_is_left() {
    let target = start(&["-Cdebuginfo=0"]);
    let module = target.module(ModuleKind::MainExecutable);
    let (frames, lacks) = target.frames(module, target.options());
    assert_eq!(names(&frames), ["shop::shop::outer"]);
    assert_eq!(frames[0].place, None);
    assert_eq!(
        lacks,
        [LackReason::NoLineTables(["shop".to_owned()].into())]
    );
}

#[test]
fn a_stripped_program_gives_offsets_until_its_symbols_are_found() {
    let target = start(&["-Cdebuginfo=1"]);
    let module = target.module(ModuleKind::MainExecutable);
    let symbols = tempfile::tempdir().unwrap();
    fs::copy(target.path(), symbols.path().join("shop.debug")).unwrap();
    drop(target);

    // The same build, stripped: linked from the same objects, so it has the same build-id.
    let stripped = tempfile::tempdir().unwrap();
    let file = stripped.path().join("shop");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&file)
        .arg(symbols.path().join("shop.debug"))
        .status();
    assert!(strip.unwrap().success());
    let target = Target::run(stripped, "shop");

    let (frames, lacks) = target.frames(module_of(&target), target.options());
    let offset = target.address - module_of(&target).load_bias;
    assert_eq!(
        frames[0].function,
        Function::ModuleOffset {
            module: "shop".to_owned(),
            offset
        }
    );
    assert_eq!(lacks, [LackReason::Stripped]);

    let with_dir = |pid| Options {
        pid,
        symbol_dirs: vec![symbols.path().to_owned()],
        ..Options::default()
    };
    let check = |options| {
        let (frames, lacks) = target.frames(module_of(&target), options);
        assert_eq!(names(&frames), ["shop::shop::inner", "shop::shop::outer"]);
        assert_eq!(lacks, []);
    };
    check(with_dir(target.options().pid));
    check(with_dir(None));
    // The file's name does not matter.
    let deep = symbols.path().join("release/old");
    fs::create_dir_all(&deep).unwrap();
    fs::rename(symbols.path().join("shop.debug"), deep.join("artifact-17")).unwrap();
    check(with_dir(target.options().pid));
    check(with_dir(None));
    // Only its build-id does.
    fs::copy(
        std::env::current_exe().unwrap(),
        symbols.path().join("shop.debug"),
    )
    .unwrap();
    fs::remove_dir_all(symbols.path().join("release")).unwrap();
    let build_id = module.build_id.iter().map(|byte| format!("{byte:02x}"));
    let build_id: String = build_id.collect();
    let is_missed = |is_cut| {
        let (frames, lacks) = target.frames(module_of(&target), with_dir(target.options().pid));
        assert!(matches!(frames[0].function, Function::ModuleOffset { .. }));
        let build_id = build_id.clone();
        assert_eq!(lacks, [LackReason::NotGiven(Missed { build_id, is_cut })]);
    };
    is_missed(false);
    assert_eq!(module_of(&target).build_id, module.build_id);
    // If there is more than is looked at, that is reported.
    let deep = symbols.path().join("1/2/3/4/5/6/7/8/9");
    fs::create_dir_all(&deep).unwrap();
    is_missed(true);
    fs::remove_dir_all(symbols.path().join("1")).unwrap();
    is_missed(false);
    for number in 0..20_000 {
        fs::write(symbols.path().join(format!("{number}.txt")), "").unwrap();
    }
    is_missed(true);
}

/// Split into one file, or into one per unit, in the old format and in the new one.
#[test]
fn debug_info_that_was_split_off_is_read() {
    for version in ["4", "5"] {
        for split in ["packed", "unpacked"] {
            let version = format!("-Cdwarf-version={version}");
            let split = format!("-Csplit-debuginfo={split}");
            let target = start(&["-Cdebuginfo=1", &version, &split]);
            let module = module_of(&target);
            for options in [target.options(), Options::default()] {
                let (frames, lacks) = target.frames(module.clone(), options);
                let expected = ["shop::shop::inner", "shop::shop::outer"];
                assert_eq!(names(&frames), expected, "{version} {split}");
                let lines = frames.iter().map(|frame| line(frame).1);
                assert_eq!(lines.collect::<Vec<_>>(), [9, 5], "{version} {split}");
                assert_eq!(lacks, [], "{version} {split}");
            }
        }
    }
}

#[test]
fn compressed_sections_are_inflated() {
    for kind in ["zlib", "zstd"] {
        let target = start(&["-Cdebuginfo=1"]);
        let module = module_of(&target);
        let compressed = target.dir.path().join("compressed");
        let objcopy = Command::new("objcopy")
            .arg(format!("--compress-debug-sections={kind}"))
            .arg(target.path())
            .arg(&compressed)
            .status();
        assert!(objcopy.unwrap().success());
        // Now the program's own file is compressed, as if it ran elsewhere.
        fs::rename(compressed, target.path()).unwrap();
        let (frames, lacks) = target.frames(module, Options::default());
        assert_eq!(names(&frames), ["shop::shop::inner", "shop::shop::outer"]);
        assert_eq!(lacks, [], "{kind}");
    }
}

fn module_of(target: &Target) -> Module {
    target.module(ModuleKind::MainExecutable)
}

#[test]
fn a_deleted_program_is_still_read() {
    let target = start(&["-Cdebuginfo=1"]);
    let module = module_of(&target);
    fs::remove_file(target.path()).unwrap();
    let (frames, _) = target.frames(module, target.options());
    assert_eq!(names(&frames), ["shop::shop::inner", "shop::shop::outer"]);
}

#[test]
fn another_build_is_not_believed() {
    let target = start(&["-Cdebuginfo=1"]);
    let mut module = module_of(&target);
    module.build_id.reverse();
    let (frames, lacks) = target.frames(module, target.options());
    assert!(matches!(frames[0].function, Function::ModuleOffset { .. }));
    assert_eq!(lacks, [LackReason::BuildIdDiffers]);
}

#[test]
fn an_address_outside_of_all_modules_stays_itself() {
    let address = Address::InstructionPointer(0x10);
    let mut symbols = Symbols::new(Vec::new(), Options::default());
    let resolved = symbols.resolve(&[address]).remove(&address).unwrap();
    assert_eq!(resolved.frames[0].function, Function::Unmapped(0x10));
}

/// What a hostile agent may report: its own process, with a library at some path.
fn lack_of(path: &Path) -> LackReason {
    let module = Module {
        path: path.to_str().unwrap().to_owned(),
        build_id: vec![1; 20],
        load_bias: 0x1000,
        // Nothing is mapped here, so only the path counts.
        code: 0x1000..0x2000,
        kind: ModuleKind::Library,
    };
    let options = Options {
        pid: Some(std::process::id().try_into().unwrap()),
        symbol_dirs: Vec::new(),
        ..Options::default()
    };
    let mut symbols = Symbols::new(vec![module], options);
    symbols.resolve(&[Address::InstructionPointer(0x1800)]);
    symbols.lacks().remove(0).reason
}

#[test]
fn hostile_paths_are_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(lack_of(&fifo), LackReason::NotRegular);
    assert_eq!(lack_of(dir.path()), LackReason::NotRegular);
    assert_eq!(lack_of(Path::new("/dev/zero")), LackReason::NotRegular);
    assert_eq!(lack_of(&dir.path().join("../x")), LackReason::PathRefused);
    assert_eq!(lack_of(Path::new("x.so")), LackReason::PathRefused);
    let magic = dir.path().join("magic");
    symlink("/proc/self/exe", &magic).unwrap();
    assert!(matches!(lack_of(&magic), LackReason::NotFound(_)));
}

#[test]
fn broken_files_are_reported() {
    let target = start(&["-Cdebuginfo=1"]);
    let whole = fs::read(target.path()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken");
    fs::write(&file, b"no ELF file at all").unwrap();
    assert!(matches!(lack_of(&file), LackReason::Malformed(_)));
    // Cut anywhere, or with a part overwritten: there is some result, and no panic.
    for part in 0..40 {
        let at = whole.len() * part / 40;
        fs::write(&file, &whole[..at]).unwrap();
        lack_of(&file);
        let mut damaged = whole.clone();
        let end = (at + 4096).min(whole.len());
        damaged[at..end].fill(0xff);
        // Placed as the program's own debug file, so that its contents
        // are read and not only its headers.
        let symbols = dir.path().join("shop");
        fs::write(&symbols, &damaged).unwrap();
        let options = Options {
            pid: None,
            symbol_dirs: vec![dir.path().to_owned()],
            ..Options::default()
        };
        let (frames, _) = target.frames(module_of(&target), options);
        assert!(!frames.is_empty());
    }
}
