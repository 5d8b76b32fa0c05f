//! `rtops demo`: its questions, its answers, and the end of its service.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use nix::sys::signal::Signal;
use procfs::process::Process;
use tempfile::{TempDir, tempdir};

use crate::{
    support::{Run, eventually},
    terminal::{Size, Terminal},
};

/// The smallest terminal that people use.
const WINDOW: Size = Size {
    columns: 80,
    rows: 24,
};
/// The end of the prompt.
const PROMPT: &str = "Ctrl-C: the end";
const ACTS: usize = 5;
/// The maximum number of lines that a command prints.
const MOST: usize = 15;

/// The texts that the output of each command must contain.
const NAMED: [(&str, &[&str]); ACTS] = [
    ("$ rtops list --sort cpu", &["demo", "%"]),
    (
        "$ rtops stack PID --limit 0",
        &[
            "never: 1 task \"restock\"",
            "behind: 24 tasks \"cart reader\"",
        ],
    ),
    (
        "$ rtops stack PID --filter reader",
        &["held by task", "\"restock\"", "src/demo/app.rs:"],
    ),
    (
        "$ rtops stack PID --filter recount --limit 0",
        &["blocked worker: ", "it computes", "src/demo/app.rs:"],
    ),
    ("$ rtops list --all", &["demo", "TOKIO"]),
];

/// A question, the command line that answers it, and the output.
#[derive(Debug)]
struct Act {
    question: String,
    line: String,
    output: Vec<String>,
}

impl Act {
    /// Parses an act from its lines. The last paragraph, which says what to look for, is left out.
    fn of(lines: &[String]) -> Self {
        let text = lines.join("\n");
        let (shown, _) = text.trim_end().rsplit_once("\n\n").unwrap();
        let mut shown = shown.lines().map(str::to_owned);
        Self {
            question: shown.next().unwrap(),
            line: shown.next().unwrap(),
            output: shown.collect(),
        }
    }

    /// Panics unless this is the act of that number and has the answer.
    #[track_caller]
    fn expect(&self, number: usize, pid: i32) {
        let (line, named) = NAMED[number - 1];
        assert!(self.question.starts_with(&format!("{number} of {ACTS}: ")));
        assert!(self.question.ends_with('?'), "{self:#?}");
        let line = line.replace("PID", &pid.to_string());
        assert!(self.line.starts_with(&line), "{self:#?}");
        assert!(self.output.len() <= MOST, "{self:#?}");
        let output = self.output.join("\n");
        for text in named {
            assert!(output.contains(text), "{text} in {self:#?}");
        }
    }
}

fn demo(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command
        .arg("demo")
        .env_clear()
        .env("RTOPS_DIR", directory.path());
    command
}

/// Returns the PID of the only service that is listed.
fn service(directory: &TempDir) -> i32 {
    let sockets = fs::read_dir(directory.path()).unwrap();
    let names = sockets.map(|socket| socket.unwrap().file_name().into_string().unwrap());
    let pids = names.map(|name| name.split('-').next().unwrap().parse().unwrap());
    let pids: Vec<i32> = pids.collect();
    assert_eq!(pids.len(), 1);
    pids[0]
}

#[track_caller]
fn expect_end(service: i32, directory: &TempDir) {
    eventually("the service has ended, and removed its socket", || {
        let stat = Process::new(service).and_then(|process| process.stat());
        // A zombie has ended, too: there may be nobody to wait for it.
        let has_ended = stat.is_ok_and(|stat| stat.state == 'Z') || Process::new(service).is_err();
        has_ended && fs::read_dir(directory.path()).unwrap().count() == 0
    });
}

/// Returns whether other tests kept the machine so busy that freezing the service took too long.
fn is_disturbed(text: &str) -> bool {
    text.contains("freezing took")
}

#[test]
fn a_pipe_gets_all_acts_at_once() {
    let directory = tempdir().unwrap();
    let mut run = Run::of(demo(&directory)).success();
    while is_disturbed(&run.stdout) {
        run = Run::of(demo(&directory)).success();
    }
    assert_eq!(run.stderr, "", "{run}");
    assert!(!run.stdout.contains('\x1b') && !run.stdout.contains(PROMPT));
    let mut acts: Vec<Vec<String>> = Vec::new();
    for line in run.stdout.lines() {
        if line.contains(&format!(" of {ACTS}: ")) {
            acts.push(Vec::new());
        }
        acts.last_mut().unwrap().push(line.to_owned());
    }
    assert_eq!(acts.len(), ACTS, "{run}");
    let acts: Vec<Act> = acts.iter().map(|lines| Act::of(lines)).collect();
    let pid = acts[1].line.split(' ').nth(3).unwrap().parse().unwrap();
    for (number, act) in (1..).zip(&acts) {
        act.expect(number, pid);
    }
    expect_end(pid, &directory);
}

#[test]
fn a_terminal_shows_one_act_after_the_other() {
    while !is_shown_on_a_terminal() {}
}

/// Returns false if the machine was too busy for an act.
fn is_shown_on_a_terminal() -> bool {
    let directory = tempdir().unwrap();
    let mut terminal = Terminal::run(WINDOW, &demo(&directory));
    let mut pid = 0;
    for number in 1..=ACTS {
        let question = format!("{number} of {ACTS}: ");
        terminal.expect(&question);
        if number == ACTS {
            assert!(terminal.wait().success());
        } else {
            terminal.expect_typed(PROMPT);
        }
        if number == 1 {
            pid = service(&directory);
        }
        // The whole act is on the screen.
        let lines = terminal.lines();
        if is_disturbed(&lines.join(" ")) {
            return false;
        }
        let begin = lines.iter().position(|line| line.starts_with(&question));
        let mut lines = lines[begin.unwrap()..].to_vec();
        lines.retain(|line| !line.trim_end().ends_with(PROMPT));
        Act::of(&lines).expect(number, pid);
        if number < ACTS {
            terminal.keys("\n");
        }
    }
    expect_end(pid, &directory);
    true
}

#[test]
fn whoever_has_seen_enough_leaves_nothing_behind() {
    for (key, ends) in [("\x03", Some(Signal::SIGINT as i32)), ("\x04", None)] {
        let directory = tempdir().unwrap();
        let mut terminal = Terminal::run(WINDOW, &demo(&directory));
        terminal.expect_typed(PROMPT);
        let pid = service(&directory);
        let modes = terminal.modes();
        terminal.keys(key);
        let status = terminal.wait();
        assert_eq!(status.signal(), ends, "{:#?}", terminal.lines());
        assert_eq!(status.code(), ends.is_none().then_some(0));
        assert_eq!(terminal.modes(), modes);
        expect_end(pid, &directory);
    }
}
