//! Tests what is opened, as the kernel reports it to a watcher of the file.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

use std::{
    fs,
    io::Read,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
    unistd::geteuid,
};
use rtops_files::{NamedBy, Refusal, Regular};
use tempfile::{TempDir, tempdir};

/// Detects that a file is opened.
struct Watch(Inotify);

impl Watch {
    fn over(path: &Path) -> Self {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        watch.add_watch(path, AddWatchFlags::IN_OPEN).unwrap();
        Self(watch)
    }

    fn was_opened(&self) -> bool {
        match self.0.read_events() {
            Ok(events) => !events.is_empty(),
            Err(Errno::EAGAIN) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes a pipe, a socket, a directory and, if root, the nodes of harmless devices.
fn no_files() -> (TempDir, Vec<PathBuf>) {
    let place = tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(place.path());
        assert!(command.status().unwrap().success());
    };
    run("mkfifo", &["fifo"]);
    run("mkdir", &["directory"]);
    drop(UnixListener::bind(place.path().join("socket")).unwrap());
    let mut names = vec!["fifo", "directory", "socket"];
    if geteuid().is_root() {
        run("mknod", &["character", "c", "1", "3"]);
        // A number that no driver has.
        run("mknod", &["block", "b", "254", "255"]);
        names.extend(["character", "block"]);
    } else {
        eprintln!("without devices: only root can make them");
    }
    let paths = names.iter().map(|name| place.path().join(name)).collect();
    (place, paths)
}

#[test]
fn what_is_no_file_is_not_opened() {
    let (place, paths) = no_files();
    for path in &paths {
        let watch = Watch::over(path);
        let link = place.path().join("link");
        symlink(path, &link).unwrap();
        let name = Path::new(path.file_name().unwrap());
        for found in [
            Regular::at(path, NamedBy::Target),
            Regular::at(&link, NamedBy::User),
            Regular::in_root(place.path(), name, NamedBy::Target),
            Regular::in_root(
                Path::new("/"),
                link.strip_prefix("/").unwrap(),
                NamedBy::Target,
            ),
        ] {
            assert!(matches!(found, Err(Refusal::NotRegular)), "{found:?}");
        }
        assert!(!watch.was_opened(), "{path:?}");
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn files_of_the_kernel_are_not_opened() {
    for (path, expected) in [
        ("/proc/self/environ", "procfs"),
        ("/proc/version", "procfs"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "sysfs"),
        ("/sys/fs/cgroup/cgroup.procs", "cgroup2"),
    ] {
        let path = Path::new(path);
        if !path.exists() {
            eprintln!("without {path:?}: there is none");
            continue;
        }
        for named_by in [NamedBy::Target, NamedBy::User] {
            let found = Regular::at(path, named_by);
            let Err(Refusal::FileSystem(name)) = found else {
                panic!("{path:?}: {found:?}");
            };
            assert_eq!(name, expected);
        }
    }
}

#[test]
fn the_file_that_was_looked_at_is_the_one_that_is_opened() {
    let place = tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "first").unwrap();
    let watch = Watch::over(&path);
    let found = Regular::at(&path, NamedBy::Target).unwrap();
    assert_eq!(found.metadata().len(), 5);
    assert!(!watch.was_opened());
    fs::rename(&path, place.path().join("other")).unwrap();
    fs::write(&path, "second").unwrap();
    let mut text = String::new();
    found.open().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "first");
    assert!(watch.was_opened());
}

#[test]
fn programs_and_files_without_a_name_are_files() {
    let program = Regular::at(Path::new("/proc/self/exe"), NamedBy::Target).unwrap();
    let own = fs::metadata(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(program.metadata().len(), own.len());
    program.open().unwrap();
    // Links in `/proc` lead out of a root.
    let found = Regular::in_root(Path::new("/"), Path::new("proc/self/exe"), NamedBy::Target);
    assert!(matches!(found, Err(Refusal::Io(_))), "{found:?}");
}
