//! Other users: what they may see, and what `rtops` tells them.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    harmless::{expect_one_sentence, expect_state, program_for_all, service},
    memstats::Memstats,
    processes::pids,
    support::{Build, Run, Target, copy_program},
    watched::lasting_state,
};

/// A user other than root.
pub const NOBODY: u32 = 65534;

fn can_become_another() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become another user");
    }
    is_root
}

/// A user who may access neither the build directory nor the program in it.
pub struct OtherUser(TempDir);

impl OtherUser {
    /// Requires root: only root can become another user.
    pub fn new() -> Self {
        let program = tempdir().unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(
            env!("CARGO_BIN_EXE_rtops").as_ref(),
            &program.path().join("rtops"),
        );
        Self(program)
    }

    /// Returns the path of an `rtops` that anybody may run.
    pub fn program(&self) -> PathBuf {
        self.0.path().join("rtops")
    }

    /// Runs `rtops` as that user, with this target's socket directory.
    pub fn rtops(&self, target: &Target, arguments: &[&str]) -> Run {
        let mut command = Command::new(self.program());
        command
            .args(arguments)
            .env_clear()
            .env("RTOPS_DIR", target.directory())
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY);
        Run::of(command)
    }
}

#[test]
fn another_user_is_refused() {
    if !can_become_another() {
        return;
    }
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let other = OtherUser::new();
    let stack = || other.rtops(&target, &["stack", &target.pid.to_string()]);
    stack().exits(5);
    // Even if the file system would let them: the agent itself checks who asks.
    fs::set_permissions(target.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    for socket in fs::read_dir(target.directory()).unwrap() {
        let path = socket.unwrap().path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }
    let run = stack().exits(5);
    assert!(run.stdout.is_empty(), "{run}");
    target.stack(&[]);
}

#[test]
fn a_user_that_the_service_allows_is_answered() {
    if !can_become_another() {
        return;
    }
    let target = Target::start(Build::Dev, &["shared", &NOBODY.to_string()]);
    let other = OtherUser::new();
    let list = other.rtops(&target, &["list"]).success();
    assert!(list.stdout.contains(&target.pid.to_string()), "{list}");
    let stats = other.rtops(&target, &["stats", &target.pid.to_string()]);
    assert!(stats.success().stdout.contains("tracked"));
}

#[test]
fn a_list_can_be_that_of_one_user() {
    if !can_become_another() {
        return;
    }
    let agent = Target::start(Build::Dev, &["herd", "3"]);
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("program-of-nobody");
    copy_program(Build::Dev.path(), &program);
    let mut command = Command::new(&program);
    command.uid(NOBODY).gid(NOBODY);
    let other = Target::disabled(command);
    let of = |user: &str| {
        let run = agent.rtops(&["list", "--all", "--json", "--user", user]);
        run.success().json::<Value>()
    };
    let number = NOBODY.to_string();
    assert!(pids(&of(&number)).contains(&i64::from(other.pid)));
    assert!(!pids(&of(&number)).contains(&i64::from(agent.pid)));
    let of_root = pids(&of("root"));
    assert!(of_root.contains(&i64::from(agent.pid)) && !of_root.contains(&i64::from(other.pid)));
    agent.rtops(&["list", "--user", "no-such-user"]).exits(2);
    // Users who may not read the programs of others are told so.
    let seen: Value = OtherUser::new()
        .rtops(&agent, &["list", "--all", "--json"])
        .success()
        .json();
    assert!(seen["hidden"].as_u64().unwrap() > 0, "{seen}");
    assert!(!pids(&seen).contains(&i64::from(agent.pid)));
    assert!(pids(&seen).contains(&i64::from(other.pid)));
}

#[test]
fn another_user_is_told_what_is_left_out() {
    if !can_become_another() {
        return;
    }
    let target = Target::start(Build::Dev, &["sockets"]);
    target.command("tcp 127.0.0.1:0");
    let other = OtherUser::new();
    let pid = target.pid.to_string();
    let info: Value = other
        .rtops(&target, &[&pid, "50ms", "--json"])
        .success()
        .json();
    for hidden in [
        "executable",
        "working directory",
        "namespaces",
        "PSS",
        "sockets",
    ] {
        let not_visible = info["not_visible"].as_array().unwrap();
        assert!(not_visible.iter().any(|what| what == hidden), "{info:#}");
    }
    assert!(info["sockets"].is_null());
    for field in ["executable", "directory", "pss_bytes", "other_namespaces"] {
        assert!(info["process"][field].is_null(), "{info:#}");
    }
    assert_eq!(info["agent"]["state"], "unknown");
    // Data that everybody may see is there, including the full name.
    let process = &info["process"];
    assert_eq!(
        (&process["name"], &process["user"]),
        (&"targets".into(), &"root".into())
    );
    assert!(process["rss_bytes"].as_u64() > Some(0));
    let text = other.rtops(&target, &["info", &pid]).success().stdout;
    assert!(
        text.contains("run rtops as root") && !text.contains("listen"),
        "{text}"
    );
}

#[test]
fn a_process_of_another_user_is_not_touched() {
    if !can_become_another() {
        return;
    }
    let (_directory, program) = program_for_all();
    let other = OtherUser::new();
    for user in [0, NOBODY - 1] {
        let mut command = Command::new(&program);
        command.uid(user).gid(user).current_dir("/");
        let service = service(command, 1);
        let before = lasting_state(service.pid);
        let pid = service.pid.to_string();
        for command in ["stack", "stats", "leaks"] {
            let run = other.rtops(&service, &[command, &pid]).exits(5);
            assert!(run.stdout.is_empty(), "{run}");
            expect_one_sentence(&run);
            assert!(run.stderr.contains("as root"), "{run}");
        }
        expect_state(service.pid, &before);
    }
}

#[test]
fn another_users_process_shows_what_all_may_see() {
    if !can_become_another() {
        return;
    }
    let target = Target::start(Build::Dev, &["memory"]);
    let other = OtherUser::new();
    let pid = target.pid.to_string();
    let run = other.rtops(&target, &["memstats", &pid, "--json"]).exits(5);
    let memstats: Memstats = run.json();
    assert!(memstats.memory.rss_bytes > 0 && memstats.memory.anonymous_bytes > 0);
    assert_eq!(memstats.memory.pss_bytes, None);
    assert_eq!(
        memstats.memory.missing.as_deref(),
        Some("not visible to this user")
    );
    assert!(run.stderr.contains("run rtops as that user"), "{run}");
    let text = other.rtops(&target, &["memstats", &pid]).exits(5);
    assert!(
        text.stdout.contains("PSS") && text.stdout.contains("not visible"),
        "{text}"
    );
    let run = other.rtops(&target, &["trim", &pid]).exits(5);
    assert!(run.stdout.is_empty(), "{run}");
}

#[test]
fn agents_of_root_are_mentioned() {
    if !can_become_another() {
        return;
    }
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let run = OtherUser::new().rtops(&target, &[]).success();
    assert!(run.stderr.contains("rtops: agents of "), "{run}");
    assert!(run.stderr.contains("root"), "{run}");
    assert!(run.stderr.ends_with(" run here: sudo rtops\n"), "{run}");
    assert_eq!(target.rtops(&[]).success().stderr, "");
}
