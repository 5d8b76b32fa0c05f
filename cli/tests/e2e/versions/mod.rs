//! Versions of tokio, and two copies of it in one program.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use tempfile::tempdir;

use crate::{
    build::cargo,
    core::{self, gcore},
    package::Package,
    source::Marks,
    support::{DEADLINE, Target},
    verdict::{Expected, Verdict},
};

/// The versions to try, separated by spaces. By default, the oldest that the
/// agent allows. All other tests use the newest.
const VERSIONS: &str = "RTOPS_TOKIO_VERSIONS";

/// The path of the service's source in its package.
const FILE: &str = "crates/service/src/main.rs";

const SERVICE: &str = include_str!("service.rs");
const TWO_COPIES: &str = include_str!("two_copies.rs");

#[test]
fn each_version_of_tokio_shows_its_tasks() {
    let versions = env::var(VERSIONS).unwrap_or_else(|_| oldest());
    let marks = marks(SERVICE);
    for version in versions.split_whitespace() {
        let package = package(version, SERVICE, "");
        package.cargo(&["update", "--package", "tokio", "--precise", version]);
        let target = start(&package);
        expect(&target, &marks, &[], |verdict| verdict.is_right());
        eprintln!("tokio {version}: all right");
    }
}

#[test]
fn tasks_of_another_copy_of_tokio_are_not_shown_wrongly() {
    let copied = tempdir().unwrap();
    copy_folder(&source_of_tokio(), copied.path());
    let other = format!(
        "other_tokio = {{ package = \"tokio\", path = {:?}, features = [\"full\"] }}",
        copied.path()
    );
    let target = start(&package("two-copies", TWO_COPIES, &other));
    let others = ["other-sleep", "other-oneshot"];
    let marks = marks(TWO_COPIES);
    expect(&target, &marks, &others, |verdict| {
        verdict.is_right_but_for(&others)
    });
    // A core file shows the tasks of both copies.
    let core = gcore(target.pid, target.directory());
    let verdict = expected(&marks, &[]).compare(&core::stack(&core, &["--tasks"]));
    assert!(verdict.is_right(), "{verdict}");
}

fn expect(target: &Target, marks: &Marks, others: &[&str], is_right: impl Fn(&Verdict) -> bool) {
    let expected = expected(marks, others);
    let compared = || expected.compare(&target.stack(&["--tasks"]));
    // The tasks may not have reached their awaits yet.
    let end = Instant::now() + DEADLINE;
    while !is_right(&compared()) && Instant::now() < end {
        thread::yield_now();
    }
    let verdict = compared();
    assert!(is_right(&verdict), "{verdict}");
}

/// Expects each marked way to wait once.
pub fn expected<'a>(marks: &'a Marks, may_be_unresolved: &'a [&str]) -> Expected<'a> {
    const FOLDER: &str = "service/src/";
    let names = marks.names_in(FOLDER).into_iter();
    Expected {
        marks,
        folders: &[FOLDER],
        around: "none",
        names: names.map(|name| (name, 1)).collect(),
        may_be_unresolved,
        has_libraries: false,
    }
}

fn marks(text: &str) -> Marks {
    Marks::of_text(text, FILE.strip_prefix("crates/").unwrap())
}

/// Returns the package of a service that starts the agent of this workspace.
fn package(name: &str, main: &str, dependency: &str) -> Package {
    let manifest = format!(
        "[package]\nname = \"service\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [[bin]]\nname = \"service\"\npath = \"{FILE}\"\n\
         [profile.release]\ndebug = \"line-tables-only\"\n\
         [workspace]\n\
         [dependencies]\nrtops-agent = {{ path = {:?} }}\n\
         tokio = {{ version = \"1\", features = [\"full\"] }}\n{dependency}\n",
        repository().join("agent"),
    );
    let package = Package::make(&format!("agent-{name}"), &manifest, &[(FILE, main)]);
    let lock = package.root().join("Cargo.lock");
    fs::copy(repository().join("Cargo.lock"), lock).unwrap();
    package
}

fn start(package: &Package) -> Target {
    let program = package.build().join("service");
    Target::start_in(Arc::new(tempdir().unwrap()), &program, &[])
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns the oldest version that the workspace allows.
fn oldest() -> String {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let (_, line) = manifest.split_once("\ntokio = { version = \"").unwrap();
    let (version, _) = line.split_once('"').unwrap();
    format!("{version}.0")
}

/// Returns the directory where cargo has unpacked tokio.
fn source_of_tokio() -> PathBuf {
    let mut cargo = cargo();
    cargo
        .args(["metadata", "--format-version=1"])
        .current_dir(repository());
    let output = cargo.output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let tokio = packages.find(|package| package["name"] == "tokio").unwrap();
    let manifest = Path::new(tokio["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}
