//! Peers that name files which `rtops` must not open as modules of their process.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{fs, path::Path, process::Command};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
    unistd::geteuid,
};
use rtops_protocol::{End, Module, ModuleKind, Process, Reply, Stacks, Thread};
use rtops_report::dump::fixtures::{on, thread};
use support::{assert_code, own_pid, peer_sending, rtops, stdout};
use tempfile::tempdir;

/// Returns a dump of a thread that claims to run code of this file.
fn dump(path: &Path, kind: ModuleKind) -> Vec<Reply> {
    vec![
        Reply::Process(Process {
            name: "peer".to_owned(),
            tracked_on_tokio: Some(0),
            alive_on_tokio: Some(0),
            tracking: None,
        }),
        Reply::Modules(vec![Module {
            path: path.to_str().unwrap().to_owned(),
            build_id: vec![1; 20],
            load_bias: 0x1000,
            code: 0x1000..0x2000,
            kind,
        }]),
        Reply::Stacks(Stacks(vec![vec![0x1800]])),
        Reply::Threads(vec![Thread {
            state: Some('S'),
            syscall: None,
            ..thread(1, Some("thread"), on(0))
        }]),
        Reply::End(End { gaps: Vec::new() }),
    ]
}

/// Shows a dump of this file and returns what is printed about the missing names.
fn shown(path: &Path, symbols: Option<&Path>) -> String {
    let directory = peer_sending(dump(path, ModuleKind::Library));
    let pid = own_pid();
    let mut arguments = vec!["stack", &pid, "--all-frames"];
    if let Some(symbols) = symbols {
        arguments.extend(["--symbols", symbols.to_str().unwrap()]);
    }
    let output = rtops(directory.path(), &arguments);
    assert_code(&output, 0);
    stdout(&output)
}

#[test]
fn a_device_that_is_named_as_a_module_is_not_opened() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make a device");
        return;
    }
    let place = tempdir().unwrap();
    let device = place.path().join("watchdog");
    // Opening it starts nothing, and the watch reports that it was opened.
    let mut mknod = Command::new("mknod");
    mknod.arg(&device).args(["c", "1", "3"]);
    assert!(mknod.status().unwrap().success());
    let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    watch.add_watch(&device, AddWatchFlags::IN_OPEN).unwrap();
    let text = shown(&device, None);
    assert!(text.contains("watchdog: not a regular file"), "{text}");
    // The same if the user has files of that name.
    let text = shown(Path::new("/gone/watchdog"), Some(place.path()));
    assert!(
        text.contains("watchdog: no symbols; no file below the directories of --symbols"),
        "{text}"
    );
    assert_eq!(watch.read_events().unwrap_err(), Errno::EAGAIN);
    fs::File::open(&device).unwrap();
    assert!(!watch.read_events().unwrap().is_empty());
}

#[test]
fn files_of_the_kernel_are_no_modules() {
    for (path, kind) in [("/proc/version", "procfs"), ("/sys/kernel/notes", "sysfs")] {
        if Path::new(path).exists() {
            let text = shown(Path::new(path), None);
            assert!(text.contains(&format!("on {kind}, where")), "{path} {text}");
        }
    }
}
