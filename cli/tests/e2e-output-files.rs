//! Output files of `rtops`, in tests that need bash, root or a separate file system.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::unistd::geteuid;
use support::{
    assert_code,
    saving::{
        BEFORE, BOTH, NOBODY, Writing, dumping, is_whole, list, names, open_directory, save,
        succeeds,
    },
    stderr,
};
use tempfile::tempdir;

#[test]
fn a_full_disk_leaves_what_was_there() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let sockets = dumping();
    let directory = tempdir().unwrap();
    let file = directory.path().join("dump");
    // Only the shell sees the file system, which is gone when the shell ends.
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
