//! Versions of tokio back to 1.20, in services that know of no agent.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{stack, victim::Victim};
use crate::{source::Marks, versions::expected};

pub const SERVICE: &str = include_str!("service.rs");
const FILE: &str = "crates/service/src/main.rs";
/// The same as a verdict names it.
const MARKED: &str = "service/src/main.rs";
const VERSIONS: [&str; 7] = [
    "1.20.6", "1.28.2", "1.35.1", "1.38.1", "1.41.1", "1.44.2", "1.49.0",
];

#[test]
fn each_version_of_tokio_shows_its_tasks() {
    let marks = marks();
    for version in VERSIONS {
        let mut victim = Victim::start(&build(version), &["ten"]).parked();
        let Some(core) = victim.dump() else { return };
        let stack = stack(&core, &["--tasks"]);
        let verdict = expected(&marks, &[]).compare(&stack);
        assert!(verdict.is_right(), "tokio {version}: {verdict}");
        eprintln!("tokio {version}: all right");
    }
}

/// Where its ten tasks wait.
pub fn marks() -> Marks {
    Marks::of_text(SERVICE, MARKED)
}

/// The lines with another sign.
pub fn signed(sign: &str) -> Marks {
    Marks::signed(SERVICE, MARKED, sign)
}

/// The service with the newest tokio.
pub fn newest() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build("1"))
}

/// Builds the service with this version of tokio, as a release build of a package of its own.
fn build(version: &str) -> PathBuf {
    let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
    let target = rtops.parent().and_then(Path::parent).unwrap();
    let target = target.join("core-services");
    let package = target.join(format!("tokio-{version}"));
    let source = package.join(FILE);
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(&source, SERVICE).unwrap();
    let requirement = if version.contains('.') {
        format!("={version}")
    } else {
        version.to_owned()
    };
    let manifest = format!(
        "[package]\nname = \"service\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [[bin]]\nname = \"service\"\npath = \"{FILE}\"\n\n\
         [dependencies]\ntokio = {{ version = \"{requirement}\", features = [\"full\"] }}\n\n\
         [profile.release]\ndebug = \"limited\"\n\n[workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--quiet", "--target-dir"])
        .arg(package.join("target"))
        .current_dir(&package);
    let built = build.output().unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    package.join("target/release/service")
}
