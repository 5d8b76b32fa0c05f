//! `rtops TARGET` and `rtops info`: the kernel's data, checked on processes whose state is known.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::UNIX_EPOCH,
};

use nix::{
    libc::{SYS_clock_nanosleep, SYS_nanosleep},
    sys::signal::Signal,
    unistd::{User, geteuid},
};
use serde::Deserialize;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Build, Run, Target, copy_program, eventually, rtops};

#[derive(Debug, Deserialize)]
struct Info {
    process: Value,
    agent: Value,
    limits: Vec<Limit>,
    sockets: Option<Sockets>,
    not_visible: Vec<String>,
    not_read: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Limit {
    what: String,
    used: u64,
    limit: u64,
    near: bool,
}

#[derive(Debug, Deserialize)]
struct Sockets {
    others: usize,
    list: Vec<Socket>,
}

#[derive(Debug, Deserialize)]
struct Socket {
    protocol: String,
    state: String,
    local: Option<String>,
    remote: Option<String>,
    path: Option<String>,
}

impl Info {
    fn of(run: &Run) -> Self {
        run.json()
    }

    fn text(&self, field: &str) -> &str {
        let value = self.process[field].as_str();
        value.unwrap_or_else(|| panic!("{field} in {self:#?}"))
    }

    fn number(&self, field: &str) -> f64 {
        let value = self.process[field].as_f64();
        value.unwrap_or_else(|| panic!("{field} in {self:#?}"))
    }

    fn limit(&self, what: &str) -> &Limit {
        let limit = self.limits.iter().find(|limit| limit.what == what);
        limit.unwrap_or_else(|| panic!("{what} in {self:#?}"))
    }

    /// Returns the sockets of a protocol in a state.
    fn sockets(&self, protocol: &str, state: &str) -> Vec<&Socket> {
        let sockets = self.sockets.as_ref().unwrap();
        let fits = |socket: &&Socket| socket.protocol == protocol && socket.state == state;
        sockets.list.iter().filter(fits).collect()
    }
}

impl Target {
    fn info(&self) -> Info {
        let pid = self.pid.to_string();
        Info::of(&self.rtops(&[&pid, "50ms", "--json"]).success())
    }

    fn info_text(&self, arguments: &[&str]) -> String {
        let pid = self.pid.to_string();
        let run = self.rtops(&[&["info", &pid, "50ms"], arguments].concat());
        run.success().stdout
    }
}

/// Starts a target through another program.
fn start_by(program: &str, arguments: &[&str], scenario: &str) -> Target {
    let directory = Arc::new(tempdir().unwrap());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(Build::Dev.path())
        .arg(scenario)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RTOPS_DIR", directory.path());
    let target = Target::spawn(command, directory);
    target.ready();
    target
}

#[test]
fn a_process_is_described() {
    let directory = Arc::new(tempdir().unwrap());
    let place = directory.path().canonicalize().unwrap();
    let mut command = Command::new(Build::Dev.path());
    command
        .args(["sockets", "an argument"])
        .env_clear()
        .env("RTOPS_DIR", directory.path())
        .current_dir(&place);
    let before = UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let target = Target::spawn(command, Arc::clone(&directory));
    target.ready();
    let info = target.info();
    assert_eq!(info.process["pid"], target.pid);
    assert_eq!(info.process["ppid"], std::process::id());
    assert!(
        info.text("parent_name").starts_with("processes-"),
        "{info:#?}"
    );
    assert_eq!(info.text("name"), "targets");
    assert!(info.text("command").ends_with(" sockets an argument"));
    let program = Build::Dev.path().canonicalize().unwrap();
    assert_eq!(Path::new(info.text("executable")), program);
    assert_eq!(info.text("executable_file"), "same");
    assert_eq!(Path::new(info.text("directory")), place);
    let user = User::from_uid(geteuid()).unwrap().unwrap();
    assert_eq!(
        (info.text("user"), info.text("real_user")),
        (&*user.name, &*user.name)
    );
    assert_eq!(info.text("state_letter"), "S");
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    // The clock that start times are measured by may lag a little.
    let started = before - 2.0..now + 2.0;
    assert!(
        started.contains(&info.number("started_unix_seconds")),
        "{info:#?}"
    );
    assert!(info.number("pss_bytes") > 0.0 && info.number("rss_bytes") > 0.0);
    assert!(info.number("memory_of_machine_bytes") > info.number("rss_bytes"));
    assert!(info.number("threads") >= 2.0);
    assert_eq!(info.process["other_namespaces"], serde_json::json!([]));
    assert!(info.process["oom_score"].is_number() && info.process["tracer"].is_null());
    assert_eq!(info.agent["state"], "answering");
    assert_eq!((&*info.not_visible, &*info.not_read), (&[][..], &[][..]));

    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", target.pid)).unwrap();
    let paths: Vec<&str> = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .collect();
    let told = info.process["cgroups"].as_array().unwrap();
    let told: Vec<&str> = told
        .iter()
        .filter_map(|group| group["path"].as_str())
        .collect();
    assert_eq!(told, paths);

    // A thread id selects its process.
    let threads = fs::read_dir(format!("/proc/{}/task", target.pid)).unwrap();
    for thread in threads {
        let thread = thread.unwrap().file_name().into_string().unwrap();
        let info = Info::of(&target.rtops(&[&thread, "10ms", "--json"]).success());
        assert_eq!(info.process["pid"], target.pid);
    }

    let text = target.info_text(&[]);
    for line in [
        format!("directory   {}", place.display()),
        format!("user        {}", user.name),
        format!(
            "agent       rtops-agent {}; `rtops stack",
            env!("CARGO_PKG_VERSION")
        ),
        "state       sleeping".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
}

#[test]
fn sockets_are_told_with_their_ends_and_states() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("a path.sock");
    let target = Target::start(Build::Dev, &["sockets"]);
    let listener = target.command("tcp 127.0.0.1:0");
    let second = target.command("tcp [::ffff:127.0.0.1]:0");
    let datagrams = target.command("udp 127.0.0.1:0");
    assert_eq!(
        target.command(&format!("unix {}", path.display())),
        "listening"
    );
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(&listener).unwrap());
        target.command("accept");
    }
    let closed = streams.pop().unwrap();
    let closing = closed.local_addr().unwrap().to_string();
    drop(closed);
    eventually("the target's kernel hears of it", || {
        target.info().sockets("tcp", "close-wait").len() == 1
    });
    let outgoing = target.command(&format!("connect {second}"));

    let info = target.info();
    let [listening] = &info.sockets("tcp", "listen")[..] else {
        panic!("{info:#?}");
    };
    assert_eq!(listening.local.as_deref(), Some(&*listener));
    assert_eq!(listening.remote, None);
    let [waiting] = &info.sockets("tcp", "close-wait")[..] else {
        panic!("{info:#?}");
    };
    assert_eq!(waiting.remote.as_deref(), Some(&*closing));
    let mut peers: Vec<&str> = info
        .sockets("tcp", "established")
        .into_iter()
        .filter(|socket| socket.local.as_deref() == Some(&*listener))
        .filter_map(|socket| socket.remote.as_deref())
        .collect();
    peers.sort_unstable();
    let mut ours: Vec<String> = streams
        .iter()
        .map(|stream| stream.local_addr().unwrap().to_string())
        .collect();
    ours.sort_unstable();
    assert_eq!(peers, ours);
    let own = info.sockets.as_ref().unwrap();
    assert!(
        own.list
            .iter()
            .any(|socket| socket.local.as_deref() == Some(&*outgoing))
    );
    let [unconnected] = &info.sockets("udp", "unconnected")[..] else {
        panic!("{info:#?}");
    };
    assert_eq!(unconnected.local.as_deref(), Some(&*datagrams));
    let unix = info.sockets("unix", "listen");
    let mut paths = unix.iter().filter_map(|socket| socket.path.as_deref());
    assert!(paths.any(|shown| Path::new(shown) == path), "{info:#?}");
    assert_eq!(own.others, 0);

    let text = target.info_text(&[]);
    for part in [
        &format!("2  tcp       established  {listener}"),
        &*listener,
        "1 close-wait",
        &closing,
        &path.display().to_string(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = target.info_text(&["--sockets"]);
    for peer in ours {
        assert!(text.contains(&peer), "{peer}: {text}");
    }
}

#[test]
fn a_limit_that_is_near_is_told() {
    let target = start_by(
        "sh",
        &["-c", "ulimit -S -n 100 && exec \"$@\"", "sh"],
        "sockets",
    );
    let info = target.info();
    let files = info.limit("open files");
    assert!(files.limit == 100 && !files.near, "{info:#?}");
    assert!(!target.info_text(&[]).contains("limits that are near"));
    assert_eq!(target.command("files 75"), "75");
    let info = target.info();
    let files = info.limit("open files");
    assert!(files.near && files.used >= 80, "{info:#?}");
    let text = target.info_text(&[]);
    let (_, near) = text.split_once("limits that are near").unwrap();
    assert!(
        near.contains("of 100") && near.contains("RLIMIT_NOFILE"),
        "{text}"
    );
}

#[test]
fn the_processor_time_is_measured_for_as_long_as_was_asked() {
    let target = Target::start(Build::Dev, &["blocked"]);
    let pid = target.pid.to_string();
    let run = target.rtops(&["info", &pid, "1s", "--json"]).success();
    let info = Info::of(&run);
    // A thread spins all the time, but the machine may be busy with other things.
    assert!(info.number("cpu_share_recent") > 0.0, "{info:#?}");
    assert!(info.number("cpu_share") > 0.0 && info.number("cpu_seconds") > 0.0);
    assert!(info.number("watched_seconds") >= 0.98, "{info:#?}");
    let run = target.rtops(&["info", &pid, "0"]).exits(2);
    assert!(run.stderr.contains("10ms to 24h"), "{run}");
}

#[test]
fn a_process_that_ends_is_watched_no_longer() {
    let mut target = Target::start(Build::Dev, &["sockets"]);
    let mut watching = Command::new(env!("CARGO_BIN_EXE_rtops"))
        .args(["info", &target.pid.to_string(), "24h"])
        .env("RTOPS_DIR", target.directory())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let syscall = format!("/proc/{}/syscall", watching.id());
    let sleeps = [SYS_clock_nanosleep, SYS_nanosleep].map(|number| format!("{number} "));
    eventually("rtops watches it", || {
        let syscall = fs::read_to_string(&syscall).unwrap();
        sleeps.iter().any(|number| syscall.starts_with(number))
    });
    target.signal(Signal::SIGKILL);
    target.wait();
    eventually("rtops ends", || watching.try_wait().unwrap().is_some());
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("(targets) has ended"), "{told}");
}

#[test]
fn a_stopped_process_is_shown_as_one() {
    let target = Target::start(Build::Dev, &["sockets"]);
    target.signal(Signal::SIGSTOP);
    eventually("the target stops", || {
        target.info().process["state_letter"] == "T"
    });
    let text = target.info_text(&[]);
    target.signal(Signal::SIGCONT);
    assert!(text.contains("state       stopped"), "{text}");
    assert!(text.contains("agent       does not answer"), "{text}");
}

#[test]
fn what_became_of_the_executable_is_told() {
    let programs = tempdir().unwrap();
    let program = programs.path().join("gateway");
    copy_program(Build::Dev.path(), &program);
    let target = Target::start_in(Arc::new(tempdir().unwrap()), &program, &["sockets"]);
    assert_eq!(target.info().text("executable_file"), "same");
    let newer = programs.path().join("newer");
    copy_program(Path::new("/bin/cat"), &newer);
    fs::rename(&newer, &program).unwrap();
    let info = target.info();
    assert_eq!(info.text("executable_file"), "replaced");
    assert_eq!(
        Path::new(info.text("executable")),
        program.canonicalize().unwrap()
    );
    assert!(
        target
            .info_text(&[])
            .contains("gateway (replaced since the start)")
    );
    fs::remove_file(&program).unwrap();
    assert_eq!(target.info().text("executable_file"), "deleted");
}

/// A process without an agent, which ends with its standard input.
struct Plain(std::process::Child);

impl Plain {
    fn start(program: &Path) -> Self {
        copy_program(Path::new("/bin/cat"), program);
        let child = Command::new(program).stdin(Stdio::piped()).spawn().unwrap();
        // The child has the name once it has executed the program.
        let exe = format!("/proc/{}/exe", child.id());
        let file = fs::metadata(program).unwrap().ino();
        eventually("the program runs", || {
            fs::metadata(&exe).is_ok_and(|running| running.ino() == file)
        });
        Self(child)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

#[test]
fn a_target_needs_no_command_and_no_agent() {
    let programs = tempdir().unwrap();
    // No other process has a name with this prefix.
    let name = format!("x{}-plain", std::process::id());
    let plain = Plain::start(&programs.path().join(&name));
    let directory = tempdir().unwrap();
    let rtops = |arguments: &[&str]| rtops(Some(directory.path()), arguments);
    let pid = plain.0.id().to_string();
    let beginning = &name[..name.len() - 2];
    for arguments in [
        &[&*pid][..],
        &[&name],
        &[beginning],
        &[&name, "20ms"],
        &["info", &name],
    ] {
        let run = rtops(arguments).success();
        assert!(
            run.stdout.starts_with(&format!("{name} (pid {pid})")),
            "{run}"
        );
        assert!(run.stdout.contains("agent       none"), "{run}");
    }
    for arguments in [
        &["--json", &*name][..],
        &[&name, "--json"],
        &[&name, "20ms", "--json"],
        &["info", &name, "--json"],
    ] {
        assert_eq!(Info::of(&rtops(arguments).success()).text("name"), name);
    }
    let run = rtops(&[&name, "soon"]).exits(2);
    assert!(run.stderr.contains("\"soon\" is no duration"), "{run}");
}

#[test]
fn a_mistyped_command_is_told_from_a_process() {
    let directory = tempdir().unwrap();
    let rtops = |arguments: &[&str]| rtops(Some(directory.path()), arguments);
    for arguments in [
        &["stakc", "4711"][..],
        &["stakc"],
        &["stakc", "x", "--tasks"],
    ] {
        let run = rtops(arguments).exits(3);
        assert_eq!(
            run.stderr,
            "rtops: no command or process is called stakc; did you mean `rtops stack`?\n"
        );
    }
    let run = rtops(&["no-such-thing"]).exits(3);
    assert!(run.stderr.contains("`rtops help`"), "{run}");
}

#[test]
fn a_process_named_like_a_command_is_reached_by_info() {
    let programs = tempdir().unwrap();
    let program = programs.path().join("stats");
    copy_program(Build::Dev.path(), &program);
    let target = Target::start_in(Arc::new(tempdir().unwrap()), &program, &["sockets"]);
    let run = target.rtops(&["info", "stats", "20ms"]).success();
    assert!(
        run.stdout
            .starts_with(&format!("stats (pid {})", target.pid)),
        "{run}"
    );
    // `stats` is a command here and names no target: `rtops` takes the only one, or asks for a PID.
    let stats = target.rtops(&["stats"]);
    let name = format!("stats (pid {})", target.pid);
    assert!(
        stats.stdout.starts_with(&name) || stats.stderr.contains("give one of these PIDs"),
        "{stats}"
    );
}
