//! The messages and exit codes of `rtops` when there is nothing to show.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs::File,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
};

use support::{assert_code, own_pid, rtops, socket_of, stderr, stdout};

#[test]
fn an_empty_list_says_how_to_add_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["list"]] {
        let output = rtops(directory.path(), arguments);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("rtops-agent"));
        assert_eq!(stdout(&output).lines().count(), 1);
        assert_eq!(stderr(&output), "");
    }
    let output = rtops(directory.path(), &["--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["processes"], serde_json::json!([]));
}

#[test]
fn wrong_usage_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["stack", "1", "--filter", "("][..],
        &["stack", "1", "--min-age", "soon"],
        &["stack", "1", "--tasks", "--threads"],
        &["stats", "1", "--timeout", "0"],
        &["stats", "0"],
        &["stats", ""],
        &["list", "--color", "maybe"],
    ] {
        let output = rtops(directory.path(), arguments);
        assert_code(&output, 2);
        assert_eq!(stdout(&output), "");
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn json_is_no_name_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = rtops(directory.path(), &["list", "-o", "json"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("--json prints JSON"), "{output:?}");
}

#[test]
fn a_process_that_is_not_there_ends_with_3() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    child.wait().unwrap();
    for target in [pid.as_str(), "no such name"] {
        for arguments in [&["stats", target][..], &["stack", target], &[target]] {
            let output = rtops(directory.path(), arguments);
            assert_code(&output, 3);
            assert!(stderr(&output).contains(target));
            assert!(stderr(&output).contains("`rtops"));
        }
    }
}

#[test]
fn symbols_in_no_directory_are_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    for none in ["/no/such/directory", env!("CARGO_BIN_EXE_rtops")] {
        let output = rtops(directory.path(), &["stack", &own_pid(), "--symbols", none]);
        assert_code(&output, 2);
        assert!(stderr(&output).contains("there is no such directory"));
    }
}

#[test]
fn a_process_without_an_agent_ends_with_4() {
    let directory = tempfile::tempdir().unwrap();
    let output = rtops(directory.path(), &["stack", &own_pid(), "--attach=never"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("add the crate rtops-agent"));
}

#[test]
fn a_socket_left_behind_is_no_agent() {
    let directory = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(socket_of(directory.path(), std::process::id())).unwrap());
    let output = rtops(directory.path(), &["stats", &own_pid(), "--attach=never"]);
    assert_code(&output, 4);
    assert_code(&rtops(directory.path(), &["list"]), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_rtops"))
        .env("RTOPS_DIR", directory.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_code(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_full_disk_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rtops"))
        .env("RTOPS_DIR", directory.path())
        .stdout(File::create("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_code(&output, 1);
    assert!(stderr(&output).contains("can't write"));
}

#[test]
fn output_goes_to_the_file_that_was_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.json");
    let name = file.to_str().unwrap();
    let output = rtops(directory.path(), &["--json", "-o", name]);
    assert_code(&output, 0);
    assert_eq!(stdout(&output), "");
    let written: serde_json::Value = serde_json::from_reader(File::open(&file).unwrap()).unwrap();
    assert_eq!(written["schema"], 1);

    let output = rtops(directory.path(), &["-o", "/no/such/directory/file"]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("choose another file"));
}

#[test]
fn version_and_help_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let output = rtops(directory.path(), &["-V"]);
    assert_eq!(
        stdout(&output),
        concat!("rtops ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let output = rtops(directory.path(), &["stack", "--help"]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("--all-frames"));
}
