//! Files that `rtops` writes: when somebody else was there first,
//! and when it is kept from finishing.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink},
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use rtops_protocol::{End, Reply, Request, Strings};
use rtops_report::dump::fixtures::task;
use support::{
    DEADLINE, assert_code, attached, hello, own_pid, peer, rtops,
    saving::{
        BEFORE, BOTH, NOBODY, command, dumping, frames, is_whole, list, names, open_directory,
        save, succeeds,
    },
    say_hello, stderr, stdout,
};
use tempfile::{TempDir, tempdir};

/// Returns a peer whose dump does not end.
fn stalling() -> TempDir {
    peer(move |mut stream| {
        say_hello(&mut stream, hello());
        if Request::receive(&mut stream).is_ok() {
            frames()
                .iter()
                .for_each(|frame| frame.send(&mut stream).unwrap());
            // Returns when the client has gone.
            stream.read_to_end(&mut Vec::new()).ok();
        }
    })
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Creates a link, owned by another user if possible.
fn plant(target: &Path, link: &Path) {
    symlink(target, link).unwrap();
    if geteuid().is_root() {
        lchown(link, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[test]
fn a_link_that_somebody_planted_leads_nowhere() {
    let sockets = dumping();
    for write in BOTH {
        for planted in ["dump", "dump.partial", "dump.tmp", ".dump.partial"] {
            let directory = open_directory();
            let victim = directory.path().join("victim");
            fs::write(&victim, BEFORE).unwrap();
            plant(&victim, &directory.path().join(planted));
            let file = directory.path().join("dump");
            succeeds(write(&sockets, &file));
            assert_eq!(fs::read_to_string(&victim).unwrap(), BEFORE, "{planted}");
            let written = file.symlink_metadata().unwrap();
            assert!(written.is_file() && written.len() > 0, "{planted}");
            assert_eq!(written.mode() & 0o777, 0o600, "{planted}");
            assert!(is_whole(&sockets, &file), "{planted}");
            let mut expected = vec!["dump", "victim"];
            expected.extend((planted != "dump").then_some(planted));
            expected.sort_unstable();
            assert_eq!(names(directory.path()), expected, "{planted}");
        }
    }
}

#[test]
fn an_open_file_that_is_replaced_stays_private() {
    let sockets = dumping();
    for write in BOTH {
        let directory = tempdir().unwrap();
        let file = directory.path().join("dump");
        fs::write(&file, BEFORE).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let mut opened = File::open(&file).unwrap();
        succeeds(write(&sockets, &file));
        let mut seen = String::new();
        opened.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, BEFORE);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn several_at_once_leave_one_whole_file() {
    let sockets = dumping();
    for write in BOTH {
        let directory = tempdir().unwrap();
        let file = directory.path().join("dump");
        let start = |_| {
            write(&sockets, &file)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let running: Vec<Child> = (0..8).map(start).collect();
        for mut child in running {
            assert!(child.wait().unwrap().success());
        }
        assert!(is_whole(&sockets, &file));
        assert_eq!(names(directory.path()), ["dump"]);
    }
}

#[test]
fn one_that_is_killed_in_the_middle_leaves_nothing() {
    let sockets = stalling();
    let directory = tempdir().unwrap();
    let file = directory.path().join("dump");
    fs::write(&file, BEFORE).unwrap();
    let mut child = save(&sockets, &file).spawn().unwrap();
    let fds = format!("/proc/{}/fd", child.id());
    let begun = |fd: fs::DirEntry| {
        let place = fs::read_link(fd.path()).unwrap_or_default();
        let length = || fs::metadata(fd.path()).map_or(0, |file| file.len());
        place.starts_with(directory.path()) && length() > 0
    };
    eventually("the dump is being saved", || {
        let fds = fs::read_dir(&fds).unwrap();
        fds.flatten().any(begun)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(directory.path()), ["dump"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), BEFORE);
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

#[test]
fn what_is_no_file_is_written_to() {
    let sockets = dumping();
    let directory = tempdir().unwrap();
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let output = succeeds(list(&sockets, Path::new(name)));
        assert!(is_json(&support::stdout(&output)), "{name} {output:?}");
    }
    for name in ["/dev/stderr", "/dev/fd/2"] {
        let output = succeeds(list(&sockets, Path::new(name)));
        assert!(is_json(&stderr(&output)), "{name} {output:?}");
    }
    assert!(
        Path::new("/dev/stdout")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );

    // The contents of an existing file stay, and so does what others write to it.
    let log = directory.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let appended = OpenOptions::new().append(true).open(&log).unwrap();
    let mut again = appended.try_clone().unwrap();
    succeeds({
        let mut command = list(&sockets, Path::new("/dev/stdout"));
        command.stdout(appended);
        command
    });
    again.write_all(b"after\n").unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let document = text
        .strip_prefix("before\n")
        .unwrap()
        .strip_suffix("after\n")
        .unwrap();
    assert!(is_json(document), "{text}");

    for (device, code) in [("/dev/null", 0), ("/dev/full", 1)] {
        let output = list(&sockets, Path::new(device)).output().unwrap();
        assert_code(&output, code);
        let metadata = Path::new(device).symlink_metadata().unwrap();
        assert!(metadata.file_type().is_char_device(), "{device}");
    }
    let output = list(&sockets, directory.path()).output().unwrap();
    assert_code(&output, 1);
}

#[test]
fn what_is_watched_is_in_the_file_while_it_grows() {
    let sockets = dumping();
    let directory = tempdir().unwrap();
    let file = directory.path().join("log");
    let arguments = ["list", "--json", "--watch", "100ms", "-o"].map(OsStr::new);
    let mut watching = command(&sockets, &[&arguments[..], &[file.as_os_str()]].concat());
    let mut child = watching.spawn().unwrap();
    let lines = || {
        fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .count()
    };
    eventually("it has looked twice", || lines() >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(directory.path()), ["log"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.lines().next().is_some_and(is_json), "{text}");
}

/// Returns a peer that reports one task and then nothing more.
fn answers_once() -> TempDir {
    let has_told = AtomicBool::new(false);
    peer(move |mut stream| {
        if has_told.load(Relaxed) {
            return;
        }
        say_hello(&mut stream, hello());
        let end = || Reply::End(End { gaps: Vec::new() });
        while let Ok(request) = Request::receive(&mut stream) {
            let mut replies = vec![end()];
            if matches!(request, Request::Dump(_)) {
                has_told.store(true, Relaxed);
                let names = Strings(vec!["told-once".to_owned()]);
                replies.splice(
                    ..0,
                    [Reply::Strings(names), Reply::Tasks(vec![task(1, 1, &[])])],
                );
            }
            drop(replies.iter().try_for_each(|reply| reply.send(&mut stream)));
        }
    })
}

#[test]
fn what_an_agent_told_is_kept_where_it_can_not_be_asked_again() {
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    if yama.is_ok_and(|scope| scope.trim() != "0") && !geteuid().is_root() {
        eprintln!("skipped: a process may not look at the one that started it here");
        return;
    }
    let directory = answers_once();
    let file = directory.path().join("saved");
    let file = file.to_str().unwrap();
    let pid = own_pid();
    let arguments = ["stack", &pid, "--tasks", "--max-pause=10s", "--save", file];
    let output = attached(directory.path(), &arguments, true);
    assert_code(&output, 6);
    let saved = rtops(directory.path(), &["stack", "--tasks", "--from", file]);
    assert_code(&saved, 6);
    for output in [output, saved] {
        assert!(stdout(&output).contains("told-once"), "{output:#?}");
        let lack = "the agent does not say where the tasks wait that were not found in memory";
        assert!(stderr(&output).contains(lack), "{output:#?}");
    }
}
