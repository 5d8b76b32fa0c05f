//! Files that `rtops` writes, where somebody else got there first, and where it is kept from
//! finishing.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use rtops_protocol::{End, Process, Reply, Request, Strings};
use support::{DEADLINE, assert_code, hello, own_pid, peer, peer_sending, say_hello, stderr};
use tempfile::{TempDir, tempdir};

/// A user other than root.
const NOBODY: u32 = 65534;

/// What stood in a file before.
const BEFORE: &str = "what somebody needs";

fn frames() -> Vec<Reply> {
    let texts = vec!["x".repeat(1000); 300];
    vec![
        Reply::Process(Process {
            name: "peer".to_owned(),
            tracked_on_tokio: Some(0),
            alive_on_tokio: Some(0),
            tracking: None,
        }),
        Reply::Strings(Strings(texts)),
    ]
}

/// A peer with a dump of 300 kB.
fn dumping() -> TempDir {
    let mut frames = frames();
    frames.push(Reply::End(End { gaps: Vec::new() }));
    peer_sending(frames)
}

/// A peer whose dump does not end.
fn stalling() -> TempDir {
    peer(move |mut stream| {
        say_hello(&mut stream, hello());
        if Request::receive(&mut stream).is_ok() {
            frames()
                .iter()
                .for_each(|frame| frame.send(&mut stream).unwrap());
            // Until the client has gone.
            stream.read_to_end(&mut Vec::new()).ok();
        }
    })
}

fn command(sockets: &TempDir, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command.env("RTOPS_DIR", sockets.path()).args(arguments);
    command
}

/// Saves a dump.
fn save(sockets: &TempDir, file: &Path) -> Command {
    let pid = own_pid();
    let arguments = ["stack", &pid, "--timeout=60s", "--attach=never"];
    let arguments = [&arguments[..], &["-o/dev/null", "--save"]].concat();
    let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    arguments.push(file.as_os_str());
    command(sockets, &arguments)
}

/// Writes a document.
fn list(sockets: &TempDir, file: &Path) -> Command {
    let arguments = ["list", "--json", "-o"].map(OsStr::new);
    command(sockets, &[&arguments[..], &[file.as_os_str()]].concat())
}

type Writing = fn(&TempDir, &Path) -> Command;
const BOTH: [Writing; 2] = [save, list];

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert_code(&output, 0);
    output
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a file is one that `--from` shows, or a document.
fn is_whole(sockets: &TempDir, file: &Path) -> bool {
    let from = ["stack", "--from"].map(OsStr::new);
    let mut shown = command(sockets, &[&from[..], &[file.as_os_str()]].concat());
    let is_document = || serde_json::from_slice::<serde_json::Value>(&fs::read(file).unwrap());
    shown.output().unwrap().status.success() || is_document().is_ok()
}

/// A directory where anybody may put something.
fn open_directory() -> TempDir {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    directory
}

/// Puts a link there, as another user if that is possible.
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

#[test]
fn a_full_disk_leaves_what_was_there() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let sockets = dumping();
    let directory = tempdir().unwrap();
    let file = directory.path().join("dump");
    // It is seen by the shell only, and gone with it.
    let script = "mount -t tmpfs -o size=64k tmpfs \"$0\" && echo before > \"$0/dump\" && \
                  { \"$@\"; code=$?; ls -A \"$0\"; cat \"$0/dump\"; exit $code; }";
    let saving = save(&sockets, &file);
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(directory.path())
        .arg(saving.get_program())
        .args(saving.get_args())
        .env("RTOPS_DIR", sockets.path())
        .output()
        .unwrap();
    assert_code(&output, 1);
    assert!(stderr(&output).contains("No space left"), "{output:#?}");
    assert_eq!(support::stdout(&output), "dump\nbefore\n");
}

#[test]
fn a_directory_that_may_not_be_written_to_is_named() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let sockets = dumping();
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("list.json");
    fs::write(&file, BEFORE).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let program = directory.path().join("rtops");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_rtops"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut rtops = Command::new(program);
    rtops
        .args(list(&sockets, &file).get_args())
        .uid(NOBODY)
        .gid(NOBODY);
    let output = rtops.current_dir("/").output().unwrap();
    assert_code(&output, 1);
    let said = stderr(&output);
    assert!(
        said.contains("Permission denied") && said.contains("directory"),
        "{said}"
    );
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

    // What is in a file already stays, and so does what others write to it.
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
fn pipes_are_written_to() {
    let sockets = dumping();
    let directory = tempdir().unwrap();
    let through = |write: Writing, shell: &str| {
        let mut bash = Command::new("bash");
        let written = write(&sockets, Path::new("THERE"));
        let words = written.get_args().map(|word| word.to_str().unwrap());
        let words: Vec<_> = words.filter(|word| *word != "THERE").collect();
        let rtops = format!("{} {}", env!("CARGO_BIN_EXE_rtops"), words.join(" "));
        bash.args(["-c", &shell.replace("RTOPS", &rtops)]);
        bash.env("RTOPS_DIR", sockets.path())
            .current_dir(directory.path());
        succeeds(bash);
    };
    for write in BOTH {
        for shell in [
            "mkfifo fifo; cat fifo > out & RTOPS fifo; wait; test -p fifo; rm fifo",
            "RTOPS >(cat > out; touch done); until test -e done; do sleep 0.01; done; rm done",
            "exec 3> out; RTOPS /dev/fd/3",
        ] {
            through(write, shell);
            assert!(is_whole(&sockets, &directory.path().join("out")), "{shell}");
            assert_eq!(names(directory.path()), ["out"], "{shell}");
            fs::remove_file(directory.path().join("out")).unwrap();
        }
    }
}

#[test]
fn a_pipe_of_another_user_is_refused() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make what another user has");
        return;
    }
    let sockets = dumping();
    for write in BOTH {
        let directory = open_directory();
        let fifo = directory.path().join("dump");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        chown(&fifo, Some(NOBODY), Some(NOBODY)).unwrap();
        let output = write(&sockets, &fifo).output().unwrap();
        assert_code(&output, 1);
        assert!(stderr(&output).contains("of another user"), "{output:#?}");
    }
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
