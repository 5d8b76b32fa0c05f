//! Dumps and documents that `rtops` writes to files.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use rtops_protocol::{End, Process, Reply, Strings};
use tempfile::{TempDir, tempdir};

use super::{assert_code, own_pid, peer_sending};

/// A user other than root.
pub const NOBODY: u32 = 65534;

/// The former contents of a file.
pub const BEFORE: &str = "what somebody needs";

pub fn frames() -> Vec<Reply> {
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

/// Starts a peer with a dump of 300 kB.
pub fn dumping() -> TempDir {
    let mut frames = frames();
    frames.push(Reply::End(End { gaps: Vec::new() }));
    peer_sending(frames)
}

pub fn command(sockets: &TempDir, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command.env("RTOPS_DIR", sockets.path()).args(arguments);
    command
}

/// Returns a command that saves a dump.
pub fn save(sockets: &TempDir, file: &Path) -> Command {
    let pid = own_pid();
    let arguments = ["stack", &pid, "--timeout=60s", "--attach=never"];
    let arguments = [&arguments[..], &["-o/dev/null", "--save"]].concat();
    let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    arguments.push(file.as_os_str());
    command(sockets, &arguments)
}

/// Returns a command that writes a document.
pub fn list(sockets: &TempDir, file: &Path) -> Command {
    let arguments = ["list", "--json", "-o"].map(OsStr::new);
    command(sockets, &[&arguments[..], &[file.as_os_str()]].concat())
}

pub type Writing = fn(&TempDir, &Path) -> Command;
pub const BOTH: [Writing; 2] = [save, list];

pub fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert_code(&output, 0);
    output
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns whether a file is a dump that `--from` can show, or a JSON document.
pub fn is_whole(sockets: &TempDir, file: &Path) -> bool {
    let from = ["stack", "--from"].map(OsStr::new);
    let mut shown = command(sockets, &[&from[..], &[file.as_os_str()]].concat());
    let is_document = || serde_json::from_slice::<serde_json::Value>(&fs::read(file).unwrap());
    shown.output().unwrap().status.success() || is_document().is_ok()
}

/// Creates a directory where anybody may create files.
pub fn open_directory() -> TempDir {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    directory
}
