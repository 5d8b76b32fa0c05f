//! Versions of tokio, and two copies of it in one program.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Instant,
};

use tempfile::tempdir;

use crate::{
    core::{self, victim::gcore},
    source::Marks,
    support::{DEADLINE, Target},
    verdict::{Expected, Verdict},
};

/// Versions to try, with spaces between; without it, the oldest that the agent allows. The newest is
/// what all other tests are with.
const VERSIONS: &str = "RTOPS_TOKIO_VERSIONS";

/// The file that the service becomes: of a package in a workspace of its own.
const FILE: &str = "crates/service/src/main.rs";

const SERVICE: &str = include_str!("service.rs");
const TWO_COPIES: &str = include_str!("two_copies.rs");

#[test]
fn each_version_of_tokio_shows_its_tasks() {
    let versions = env::var(VERSIONS).unwrap_or_else(|_| oldest());
    let marks = marks(SERVICE);
    for version in versions.split_whitespace() {
        let package = Package::make(version, SERVICE, "");
        package.cargo(&["update", "--package", "tokio", "--precise", version]);
        let target = package.start();
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
    let target = Package::make("two-copies", TWO_COPIES, &other).start();
    let others = ["other-sleep", "other-oneshot"];
    let marks = marks(TWO_COPIES);
    expect(&target, &marks, &others, |verdict| {
        verdict.is_right_but_for(&others)
    });
    // A core file shows those of both.
    let core = gcore(target.pid, target.directory());
    let verdict = expected(&marks, &[]).compare(&core::stack(&core, &["--tasks"]));
    assert!(verdict.is_right(), "{verdict}");
}

fn expect(target: &Target, marks: &Marks, others: &[&str], is_right: impl Fn(&Verdict) -> bool) {
    let expected = expected(marks, others);
    let compared = || expected.compare(&target.stack(&["--tasks"]));
    // The tasks may not have come to their awaits yet.
    let end = Instant::now() + DEADLINE;
    while !is_right(&compared()) && Instant::now() < end {
        thread::yield_now();
    }
    let verdict = compared();
    assert!(is_right(&verdict), "{verdict}");
}

/// Each marked way to wait once.
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

/// A package outside of this workspace, which depends on the agent of this one.
struct Package {
    root: PathBuf,
}

impl Package {
    /// Below `target`, so that what was built once is built no more.
    fn make(name: &str, main: &str, dependency: &str) -> Self {
        let build = Path::new(env!("CARGO_BIN_EXE_rtops"));
        let build = build.parent().and_then(Path::parent).unwrap();
        let root = build.join("tokio-versions").join(name);
        let source = root.join(FILE);
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, main).unwrap();
        let mut manifest = format!(
            "[package]\nname = \"service\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [dependencies]\nrtops-agent = {{ path = {:?} }}\n\
             tokio = {{ version = \"1\", features = [\"full\"] }}\n",
            repository().join("agent"),
        );
        writeln!(manifest, "{dependency}").unwrap();
        fs::write(root.join("crates/service/Cargo.toml"), manifest).unwrap();
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/service\"]\n\
                         [profile.release]\ndebug = \"line-tables-only\"\n";
        fs::write(root.join("Cargo.toml"), workspace).unwrap();
        fs::copy(repository().join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        Self { root }
    }

    fn cargo(&self, arguments: &[&str]) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Other tests, which look at processes that must get their turns, run meanwhile.
        cargo
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_BUILD_JOBS", "1");
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cargo:?}: {said}");
    }

    fn start(&self) -> Target {
        let directory = self.root.join("target");
        let directory = directory.to_str().unwrap();
        self.cargo(&["build", "--quiet", "--release", "--target-dir", directory]);
        let program = self.root.join("target/release/service");
        Target::start_in(Arc::new(tempdir().unwrap()), &program, &[])
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The oldest version that the workspace allows.
fn oldest() -> String {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let (_, line) = manifest.split_once("\ntokio = { version = \"").unwrap();
    let (version, _) = line.split_once('"').unwrap();
    format!("{version}.0")
}

/// Where cargo has unpacked it.
fn source_of_tokio() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
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
