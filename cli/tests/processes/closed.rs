//! A service that closes descriptors of the agent, and opens files of its own in their place.

use std::{fs, io::Read, os::unix::net::UnixStream, path::PathBuf};

use nix::libc::SYS_poll;

use crate::support::{Build, DEADLINE, Target, eventually};

const LOG: &str = "the rtops agent ends: the service has closed its descriptors";

/// Returns the directory of the agent's thread in `/proc`, if the thread exists.
fn agent(target: &Target) -> Option<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", target.pid)).unwrap();
    let mut tasks = tasks.flatten().map(|task| task.path());
    tasks.find(|task| {
        let name = fs::read_to_string(task.join("comm"));
        name.is_ok_and(|name| name == "rtops-agent\n")
    })
}

/// Starts a target whose agent waits for clients.
fn start() -> Target {
    let target = Target::start(Build::Dev, &["closed"]);
    eventually("the agent waits", || {
        agent(&target).is_some_and(|thread| {
            let call = fs::read_to_string(thread.join("syscall")).unwrap();
            call.starts_with(&format!("{SYS_poll} "))
        })
    });
    target
}

fn socket(target: &Target) -> PathBuf {
    let mut files = fs::read_dir(target.directory()).unwrap();
    files.next().unwrap().unwrap().path()
}

/// Has the service do this to the agent's descriptors, and returns how many there were.
fn replace(target: &Target, how: &str) -> usize {
    let answer = target.command(how);
    answer.parse().unwrap_or_else(|_| panic!("{how}: {answer}"))
}

/// Asserts that the agent ends with one log line, has touched nothing, and may be started again.
fn expect_end(target: &Target, own: usize) {
    eventually("the agent ends", || agent(target).is_none());
    assert_eq!(target.command("intact"), own.to_string());
    assert_eq!(target.command("intact-in-child"), own.to_string());
    // What the target writes is read by a thread of the test.
    eventually("it says so", || target.log().contains(LOG));
    assert_eq!(target.log().matches(LOG).count(), 1, "{}", target.log());
    assert_eq!(target.log().lines().count(), 1, "{}", target.log());
    assert_eq!(fs::read_dir(target.directory()).unwrap().count(), 0);
    let pid = target.pid.to_string();
    let run = target.rtops(&["stack", &pid, "--attach=never"]).exits(4);
    assert!(run.stderr.contains("agent"), "{run}");

    assert_eq!(target.command("stop"), "stopped");
    assert_eq!(target.command("start"), "started");
    target.stack(&[]);
    assert_eq!(target.command("stop"), "stopped");
    assert_eq!(target.command("intact"), own.to_string());
}

#[test]
fn an_agent_whose_descriptors_are_closed_ends_by_itself() {
    let target = start();
    assert!(replace(&target, "close all") >= 4);
    expect_end(&target, 0);
}

#[test]
fn files_that_get_the_numbers_of_the_agents_descriptors_are_left_alone() {
    let target = start();
    let own = replace(&target, "files all");
    expect_end(&target, own);
}

#[test]
fn files_that_look_like_the_agents_descriptors_are_left_alone() {
    let target = start();
    let own = replace(&target, "alike all");
    expect_end(&target, own);
}

/// The agent's thread sleeps on until somebody connects: its `poll`
/// still waits for the lost listener.
#[test]
fn an_agent_that_has_lost_its_listener_ends_when_somebody_comes() {
    for how in ["close listener", "files listener", "alike listener"] {
        let target = start();
        assert_eq!(replace(&target, how), 1);
        let own = usize::from(how != "close listener");
        // A child closes what it inherits from the agent, whether the agent knows it or not.
        assert_eq!(target.command("intact-in-child"), own.to_string());
        assert!(agent(&target).is_some());
        let client = UnixStream::connect(socket(&target)).unwrap();
        expect_end(&target, own);
        drop(client);
    }
}

/// The agent tells its inotify from those of the service by what it watches.
#[test]
fn an_agent_that_has_lost_its_inotify_says_that_it_ends() {
    for how in ["close inotify", "files inotify", "alike inotify"] {
        let target = start();
        assert_eq!(replace(&target, how), 1);
        let own = usize::from(how != "close inotify");
        assert_eq!(target.command("intact-in-child"), own.to_string());
        let run = target.rtops(&["stack", &target.pid.to_string()]).exits(1);
        let said = "it ends, as the service has closed its descriptors";
        assert!(run.stderr.contains(said), "{run}");
        expect_end(&target, own);
    }
}

#[test]
fn a_client_that_is_being_served_is_left_without_an_answer() {
    let target = start();
    let mut client = UnixStream::connect(socket(&target)).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.read_exact(&mut [0]).unwrap();
    let own = replace(&target, "alike all");
    assert!(own >= 5, "the connection is one of {own}");
    client.read_to_end(&mut Vec::new()).unwrap();
    expect_end(&target, own);
}

#[test]
fn an_agent_is_stopped_whose_descriptors_are_closed() {
    let target = start();
    let own = replace(&target, "files all");
    assert_eq!(target.command("stop"), "stopped");
    eventually("the agent ends", || agent(&target).is_none());
    assert_eq!(target.command("intact"), own.to_string());
}
