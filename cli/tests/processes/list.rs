//! `rtops list`, and sockets that come and go.

use std::{fs, path::Path};

use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::support::{Build, Target, eventually, rtops};

#[derive(Debug, Deserialize)]
pub struct List {
    processes: Vec<Process>,
    total: usize,
}

#[derive(Debug, Deserialize)]
pub struct Process {
    pub pid: i32,
    pub name: String,
    pub state: String,
    pub tracked_tasks: Option<u64>,
}

impl List {
    /// Returns the processes that `rtops list` finds with this socket directory.
    pub fn read(directory: Option<&Path>) -> Self {
        let run = rtops(directory, &["list", "--json"]).success();
        run.json()
    }

    pub fn process(&self, pid: i32) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }
}

impl Target {
    fn list(&self) -> List {
        List::read(Some(self.directory()))
    }

    fn is_listed(&self) -> bool {
        self.list().process(self.pid).is_some()
    }

    /// Waits until the target is listed with its tasks: `rtops list`
    /// waits only briefly for each process.
    fn expect_answer(&self, tasks: u64) {
        eventually("the target answers", || {
            let list = self.list();
            let process = list.process(self.pid).unwrap();
            assert_eq!(process.name, "targets");
            process.state == "answering" && process.tracked_tasks == Some(tasks)
        });
    }
}

#[test]
fn several_targets_are_listed_with_their_tasks() {
    let first = Target::start(Build::Dev, &["herd", "3"]);
    let second = first.start_beside(Build::Dev, &["herd", "30"]);
    first.expect_answer(3);
    second.expect_answer(30);
    assert_eq!(first.list().processes.len(), 2);
    let text = first.rtops(&[]).success().stdout;
    assert!(text.contains(&first.pid.to_string()), "{text}");
    assert!(text.contains(&second.pid.to_string()), "{text}");
}

#[test]
fn an_agent_is_found_wherever_its_socket_is() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    eventually("the target answers", || {
        let list = List::read(None);
        let process = list.process(target.pid);
        process.is_some_and(|process| process.tracked_tasks == Some(3))
    });
    // With an explicit directory, only the processes in it are listed.
    let other = Target::start(Build::Dev, &["herd", "3"]);
    let list = List::read(Some(other.directory()));
    assert!(list.process(target.pid).is_none(), "{list:?}");
}

#[test]
fn a_list_may_be_cut() {
    let first = Target::start(Build::Dev, &["herd", "3"]);
    let _second = first.start_beside(Build::Dev, &["herd", "30"]);
    let run = first
        .rtops(&["list", "--sort=tasks", "--limit=1"])
        .success();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{run}");
    assert_eq!(lines[2], "(1 more not shown; raise --limit to see them)");
    let run = first.rtops(&["list", "--limit=0", "--json"]).success();
    let list: List = run.json();
    assert_eq!((list.processes.len(), list.total), (0, 2), "{run}");
}

#[test]
fn a_stopped_process_hides_no_other() {
    let stopped = Target::start(Build::Dev, &["herd", "3"]);
    let other = stopped.start_beside(Build::Dev, &["herd", "3"]);
    stopped.signal(Signal::SIGSTOP);
    other.expect_answer(3);
    let list = stopped.list();
    assert_eq!(list.process(stopped.pid).unwrap().state, "not answering");
    let pid = stopped.pid.to_string();
    let run = stopped.rtops(&["stack", &pid]).exits(1);
    assert!(run.stderr.contains(&pid), "{run}");
    stopped.signal(Signal::SIGCONT);
    stopped.stack(&[]);
}

#[test]
fn a_name_that_two_processes_have_is_not_guessed() {
    let first = Target::start(Build::Dev, &["herd", "3"]);
    first.rtops(&["stats", "targets"]).success();
    let second = first.start_beside(Build::Dev, &["herd", "3"]);
    let run = first.rtops(&["stats", "targets"]);
    assert_ne!(run.code, Some(0), "{run}");
    for target in [&first, &second] {
        assert!(run.stderr.contains(&target.pid.to_string()), "{run}");
    }
}

#[test]
fn a_removed_socket_comes_back() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    for socket in fs::read_dir(target.directory()).unwrap() {
        fs::remove_file(socket.unwrap().path()).unwrap();
    }
    eventually("the target is listed again", || target.is_listed());
    fs::remove_dir_all(target.directory()).unwrap();
    eventually("the target is listed again", || target.is_listed());
    target.stack(&[]);
}

#[test]
fn the_socket_of_a_killed_process_is_not_listed_and_goes() {
    let mut killed = Target::start(Build::Dev, &["herd", "3"]);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let sockets = || fs::read_dir(killed.directory()).unwrap().count();
    assert_eq!(sockets(), 1);
    assert!(killed.list().processes.is_empty());
    let next = killed.start_beside(Build::Dev, &["herd", "3"]);
    assert_eq!(sockets(), 1);
    assert!(next.is_listed());
}

#[test]
fn an_agent_stops_and_starts_again() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    assert!(target.is_listed());
    assert!(target.command("start").contains("already"));
    assert!(target.is_listed());
    assert_eq!(target.command("stop"), "stopped");
    assert!(!target.is_listed());
    let pid = target.pid.to_string();
    target.rtops(&["stack", &pid, "--attach=never"]).exits(4);
    assert_eq!(target.command("start"), "started");
    assert!(target.is_listed());
    assert_eq!(target.stack(&["--tasks"]).tasks().count(), 3);
}
