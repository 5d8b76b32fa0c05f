//! Where debug files of a stripped program are found, and a cache without room.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::geteuid;
use object::{Object, read::File};
use tempfile::{TempDir, tempdir, tempdir_in};

use crate::support::{Build, Run, Target};

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");
/// The prefix of a name that is not among the symbols of a stripped program.
const NAME: &str = "rtops_testbed::";
const PROGRAM: &str = "targets";
const DEBUG: &str = "targets.debug";

/// A stripped program that names its debug file.
struct Stripped(TempDir);

impl Stripped {
    fn make() -> Self {
        let this = Self(tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let objcopy = |arguments: &[&str], to: &str| {
            let mut objcopy = Command::new("objcopy");
            objcopy.args(arguments).arg(Build::Release.path()).arg(to);
            // A link contains the file's name, and a checksum of its contents.
            objcopy.current_dir(this.0.path());
            assert!(objcopy.status().unwrap().success(), "{objcopy:?}");
        };
        objcopy(&["--only-keep-debug"], DEBUG);
        let link = format!("--add-gnu-debuglink={DEBUG}");
        objcopy(&["--strip-all", &link], PROGRAM);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self) -> Target {
        Target::start_in(
            tempdir().unwrap().into(),
            &self.path(PROGRAM),
            &["herd", "3"],
        )
    }
}

fn build_id(program: &Path) -> String {
    let bytes = fs::read(program).unwrap();
    let build_id = File::parse(&*bytes).unwrap().build_id().unwrap().unwrap();
    build_id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `rtops stack` in this environment, after a shell has run a script.
fn stack(target: &Target, script: &str, environment: &[(&str, &Path)]) -> Run {
    let mut command = Command::new("unshare");
    let script = format!(
        "{script} exec {RTOPS} stack {} --max-pause=10s \"$@\"",
        target.pid
    );
    command.args(["--mount", "sh", "-ec", &script, "sh"]);
    command.env_clear().env("RTOPS_DIR", target.directory());
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(environment.iter().copied());
    Run::of(command).success()
}

fn can_mount() -> bool {
    let can = geteuid().is_root();
    if !can {
        eprintln!("skipped: only root can mount file systems");
    }
    can
}

#[test]
fn a_debug_file_is_found_in_the_cache_of_debuginfods_client() {
    if !can_mount() {
        return;
    }
    let stripped = Stripped::make();
    let target = stripped.start();
    let caches = tempdir().unwrap();
    let place = caches.path().join(build_id(&stripped.path(PROGRAM)));
    fs::create_dir(&place).unwrap();
    let look = |file: &Path| {
        fs::copy(file, place.join("debuginfo")).unwrap();
        stack(&target, "", &[("DEBUGINFOD_CACHE_PATH", caches.path())])
    };
    // The name proves nothing: this file is from another build.
    let other = look(RTOPS.as_ref());
    assert!(!other.stdout.contains(NAME), "{other}");
    let found = look(&stripped.path(DEBUG));
    assert!(found.stdout.contains(NAME), "{found}");
}

#[test]
fn a_debug_file_is_found_by_the_link_in_the_program() {
    if !can_mount() {
        return;
    }
    if !Path::new("/usr/lib/debug").is_dir() {
        eprintln!("skipped: there is no /usr/lib/debug to mount a file system at");
        return;
    }
    let stripped = Stripped::make();
    let target = stripped.start();
    let look = |file: &Path| {
        let script = format!(
            "mount -t tmpfs tmpfs /usr/lib/debug; mkdir -p /usr/lib/debug{directory}; \
             cp {file} /usr/lib/debug{directory}/{DEBUG};",
            directory = stripped.0.path().display(),
            file = file.display(),
        );
        stack(&target, &script, &[])
    };
    let other = look(RTOPS.as_ref());
    assert!(!other.stdout.contains(NAME), "{other}");
    let found = look(&stripped.path(DEBUG));
    assert!(found.stdout.contains(NAME), "{found}");
}

#[test]
fn a_full_disk_costs_time_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let target = Target::start(Build::Release, &["herd", "3"]);
    let caches = tempdir().unwrap();
    let left = tempdir().unwrap();
    // There is room for the directory, but not for the cached data of the program.
    let script = "mount -t tmpfs -o size=8k tmpfs $XDG_CACHE_HOME; chmod 700 $XDG_CACHE_HOME;";
    let script = format!(
        "{script} trap 'ls -A $XDG_CACHE_HOME/rtops > {}/files' EXIT; \
         {RTOPS} stack {} --max-pause=10s;",
        left.path().display(),
        target.pid
    );
    let script = format!("({script}) > {}/first;", left.path().display());
    let second = stack(&target, &script, &[("XDG_CACHE_HOME", caches.path())]);
    let first = fs::read_to_string(left.path().join("first")).unwrap();
    assert!(first.contains(NAME), "{first}");
    assert!(second.stdout.contains(NAME), "{second}");
    let files = fs::read_to_string(left.path().join("files")).unwrap();
    let build_id = build_id(Build::Release.path());
    let is_there = |file: &str| file.starts_with(".new-") || file.starts_with(&build_id);
    assert!(!files.lines().any(is_there), "{build_id}: {files}");
}
