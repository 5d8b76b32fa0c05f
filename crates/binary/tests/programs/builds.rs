//! What programs reveal that were built in the ways that matter.

use std::{env, fs::File, io::Write, process::Command};

use flate2::{Compression, write::ZlibEncoder};
use rtops_binary::{DebugLevel, Details, Linking, Lto, PanicStrategy, Rustc, recognize};

use crate::support::Program;

/// Returns the version of the installed rustc, as it prints it.
fn version() -> Rustc {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    Rustc::Version(said.trim().strip_prefix("rustc ").unwrap().to_owned())
}

fn details(arguments: &[&str]) -> Details {
    let details = Details::read(&Program::build(arguments).open()).unwrap();
    assert_eq!(details.rustc, Some(version()));
    details
}

#[test]
fn a_plain_build_tells_it_all() {
    let program = Program::build(&[]);
    assert_eq!(recognize(&program.open()).unwrap(), Some(version()));
    let details = Details::read(&program.open()).unwrap();
    assert_eq!(details.crate_name.as_deref(), Some("small"));
    assert_eq!(details.panic, Some(PanicStrategy::Unwind));
    assert_eq!(details.lto, Some(Lto::Off));
    assert_eq!(details.linking, Linking::Dynamic);
    assert!(details.is_pie && details.tokio.is_empty() && details.packages.is_none());
}

#[test]
fn this_test_is_recognized() {
    let file = File::open(env::current_exe().unwrap()).unwrap();
    let details = Details::read(&file).unwrap();
    assert_eq!(details.crate_name.as_deref(), Some("programs"));
    assert_eq!(recognize(&file).unwrap(), Some(version()));
}

#[test]
fn a_program_in_another_language_is_not() {
    let sleep = File::open("/usr/bin/sleep").unwrap();
    assert_eq!(recognize(&sleep).unwrap(), None);
    let details = Details::read(&sleep).unwrap();
    assert_eq!(
        (details.rustc, details.panic, details.lto),
        (None, None, None)
    );
}

#[test]
fn panic_strategies_are_told_with_and_without_symbols() {
    let abort = ["-Cpanic=abort", "-Copt-level=2"];
    assert_eq!(details(&abort).panic, Some(PanicStrategy::Abort));
    for (strategy, expected) in [
        ("-Cpanic=abort", PanicStrategy::Abort),
        ("-Cpanic=unwind", PanicStrategy::Unwind),
    ] {
        let details = details(&[strategy, "-Cstrip=symbols"]);
        assert_eq!(details.panic, Some(expected));
        assert_eq!(details.debug, Some(DebugLevel::Stripped));
        assert_eq!((details.crate_name, details.lto), (None, None));
    }
}

#[test]
fn link_time_optimization_is_told() {
    for (lto, expected) in [("fat", Lto::Fat), ("thin", Lto::Thin), ("off", Lto::Off)] {
        let details = details(&["-Copt-level=2", &format!("-Clto={lto}")]);
        assert_eq!(details.lto, Some(expected), "{lto}");
        assert_eq!(details.crate_name.as_deref(), Some("small"), "{lto}");
    }
}

#[test]
fn debug_levels_are_those_of_the_own_crate() {
    for (level, expected) in [
        ("full", DebugLevel::Full),
        ("limited", DebugLevel::Limited),
        ("line-tables-only", DebugLevel::LineTables),
        // The standard library keeps its own.
        ("none", DebugLevel::None),
    ] {
        let level = format!("-Cdebuginfo={level}");
        assert_eq!(details(&[&level]).debug, Some(expected), "{level}");
        let fat = ["-Clto=fat", "-Copt-level=1", &level];
        assert_eq!(details(&fat).debug, Some(expected), "fat {level}");
    }
    let packed = details(&["-Cdebuginfo=full", "-Csplit-debuginfo=packed"]);
    assert_eq!(packed.debug, Some(DebugLevel::Split));
}

#[test]
fn addresses_and_libraries_are_told() {
    let fixed = details(&["-Crelocation-model=static"]);
    assert!(!fixed.is_pie);
    assert_eq!(fixed.linking, Linking::Dynamic);
    let whole = details(&["-Ctarget-feature=+crt-static"]);
    assert_eq!(whole.linking, Linking::Static);
    assert_eq!(whole.panic, Some(PanicStrategy::Unwind));
}

#[test]
fn of_a_shared_standard_library_nothing_is_concluded() {
    let shared = details(&["-Cprefer-dynamic"]);
    assert_eq!((shared.panic, shared.lto), (None, None));
    assert_eq!(shared.crate_name.as_deref(), Some("small"));
}

#[test]
fn without_its_remark_the_commit_of_the_compiler_is_left() {
    let program = Program::build(&["-Cstrip=symbols"]);
    program.objcopy(&["--remove-section=.comment"]);
    let Some(Rustc::Commit(commit)) = recognize(&program.open()).unwrap() else {
        panic!("no commit");
    };
    let Rustc::Version(version) = version() else {
        panic!("no version");
    };
    assert!(version.contains(&commit[..9]), "{commit}: {version}");
}

#[test]
fn debug_info_that_was_moved_or_compressed_is_told() {
    let program = Program::build(&["-Cdebuginfo=limited"]);
    program.objcopy(&["--compress-debug-sections=zlib"]);
    let details = Details::read(&program.open()).unwrap();
    assert_eq!(details.debug, Some(DebugLevel::Limited));
    program.write("small.debug", b"");
    program.objcopy(&["--strip-all", "--add-gnu-debuglink=small.debug"]);
    let details = Details::read(&program.open()).unwrap();
    assert_eq!(details.debug, Some(DebugLevel::Stripped));
    assert_eq!(details.debug_link.as_deref(), Some("small.debug"));
}

#[test]
fn the_list_of_packages_is_read() {
    let list = br#"{"packages": [
        {"name": "tokio", "version": "1.54.1", "source": "crates.io"},
        {"name": "small", "version": "0.3.0", "source": "local", "root": true}]}"#;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(list).unwrap();
    let program = Program::build(&[]);
    program.write("list", &encoder.finish().unwrap());
    program.objcopy(&["--add-section=.dep-v0=list"]);
    let details = Details::read(&program.open()).unwrap();
    let packages = details.packages.unwrap().unwrap();
    let names: Vec<_> = packages.iter().map(|package| &*package.name).collect();
    assert_eq!(names, ["small", "tokio"]);
    assert_eq!(details.tokio, ["1.54.1"]);
    program.write("list", b"none");
    program.objcopy(&["--update-section=.dep-v0=list"]);
    let details = Details::read(&program.open()).unwrap();
    let refused = details.packages.unwrap().unwrap_err();
    assert_eq!(refused, "the list of packages is malformed");
    assert_eq!(details.crate_name.as_deref(), Some("small"));
}
