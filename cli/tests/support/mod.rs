//! Runs the real `rtops` against hostile peers. Agents that behave are
//! real ones and have their own tests.
#![allow(clippy::unwrap_used, dead_code)]

pub mod saving;

use std::{
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::Duration,
};

use rtops_protocol::{Capabilities, FrameKind, Hello, Reply, Request, SocketFile, write_frame};
use tempfile::TempDir;

/// Longer than any test takes, so that a command that hangs fails instead of blocking the suite.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `rtops` with a plain environment and with sockets in `directory` only. Peers play the agent
/// of the test process, which is not to be looked at from outside.
pub fn rtops(directory: &Path, arguments: &[&str]) -> Output {
    let looks = matches!(arguments, ["stack" | "leaks" | "profile" | "stats", ..]);
    let says = ["--core", "--from", "--attach"];
    let is_said = |argument: &&str| says.iter().any(|option| argument.starts_with(option));
    let is_attached = !looks || arguments.iter().any(is_said);
    attached(directory, arguments, is_attached)
}

/// Runs `rtops` with these arguments as they are, or without a look from outside.
pub fn attached(directory: &Path, arguments: &[&str], is_attached: bool) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rtops"));
    command
        .env_clear()
        .env("RTOPS_DIR", directory)
        .args(arguments);
    if !is_attached {
        command.arg("--attach=never");
    }
    command.timeout(DEADLINE).output().unwrap()
}

/// Asserts the exit code, and prints all output if it is another.
#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:#?}");
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the process id of the test, which is that of all peers that it plays.
pub fn own_pid() -> String {
    std::process::id().to_string()
}

/// Returns the path of the socket that an agent in the process would have.
pub fn socket_of(directory: &Path, pid: u32) -> PathBuf {
    let process = procfs::process::Process::new(i32::try_from(pid).unwrap()).unwrap();
    let start_time = process.stat().unwrap().starttime;
    directory.join(SocketFile { pid, start_time }.name())
}

/// Starts a peer that treats each connection as it is told to, for as long as the test runs.
pub fn peer(behave: impl Fn(UnixStream) + Send + 'static) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_of(directory.path(), std::process::id())).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            behave(stream.unwrap());
        }
    });
    directory
}

/// Starts a peer that sends a valid hello, reads the request, and then sends these frames.
pub fn peer_sending(replies: Vec<Reply>) -> TempDir {
    peer(move |mut stream| {
        say_hello(&mut stream, hello());
        if Request::receive(&mut stream).is_ok() {
            // The client may have heard enough and be gone.
            drop(replies.iter().try_for_each(|reply| reply.send(&mut stream)));
        }
    })
}

pub fn say_hello(stream: &mut UnixStream, hello: Hello) {
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameKind::HELLO, &hello.encode()).unwrap();
    // The client may be gone.
    drop(stream.write_all(&frame));
}

pub fn hello() -> Hello {
    Hello {
        oldest_version: rtops_protocol::OLDEST_VERSION,
        newest_version: rtops_protocol::VERSION,
        pid: std::process::id(),
        start_time: 1,
        capabilities: Capabilities::STATS
            .with(Capabilities::TASKS)
            .with(Capabilities::THREADS),
        agent_version: "0.0.0".to_owned(),
        name: "peer".to_owned(),
    }
}
