//! `rtops stats --watch` and `rtops list --watch`.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::sys::signal::Signal;
use regex::Regex;
use serde_json::Value;

use crate::{
    support::{Build, Target, eventually},
    terminal::{Size, Terminal},
};

const WIDE: Size = Size {
    columns: 80,
    rows: 24,
};
const NARROW: Size = Size {
    columns: 40,
    rows: 24,
};

impl Target {
    /// Returns a command that finds this target's socket.
    pub fn command_line(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
        command
            .args(arguments)
            .env_clear()
            .env("RTOPS_DIR", self.directory());
        command
    }

    /// Returns the objects that these looks print.
    fn watched(&self, arguments: &[&str]) -> Vec<Value> {
        let run = self.rtops(arguments).success();
        let lines = run.stdout.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {run}"))
        });
        lines.collect()
    }

    fn watch_on(&self, size: Size, arguments: &[&str]) -> Terminal {
        Terminal::run(size, &self.command_line(arguments))
    }
}

/// A command that keeps running, and the lines that it prints.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until an object fits, and returns it.
    fn expect(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let mut objects = self.lines.by_ref().map(|line| {
            let line = line.unwrap();
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        objects.find(fits).expect("the command goes on")
    }

    fn ends(mut self) -> (Option<i32>, String) {
        self.lines.by_ref().for_each(drop);
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn a_resting_process_has_no_rates() {
    let target = Target::start(Build::Dev, &["herd", "30"]);
    let pid = target.pid.to_string();
    let looks = target.watched(&["stats", &pid, "--watch", "100ms", "--count=3", "--json"]);
    assert_eq!(looks.len(), 3);
    for look in looks {
        assert_eq!(
            (&look["schema"], &look["missing"]),
            (&1.into(), &Value::Null)
        );
        assert_eq!(
            (&look["pid"], &look["name"]),
            (&target.pid.into(), &"targets".into())
        );
        assert!(look["time"].as_str().unwrap().ends_with('Z'));
        assert!(float(&look["interval_seconds"]) > 0.0, "{look}");
        let tasks = &look["tasks"];
        assert_eq!(
            (&tasks["tracked"], &tasks["alive"]),
            (&30.into(), &30.into())
        );
        for rate in ["polls", "spawned", "finished"] {
            assert_eq!(tasks[format!("{rate}_per_second")], 0.0, "{look}");
        }
        assert_eq!(
            look["runtimes"][0]["worker_busy_shares"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

#[test]
fn a_busy_process_has_rates() {
    let target = Target::start(Build::Dev, &["churn"]);
    // In either order: a word after `--watch` may be the target.
    for arguments in [
        &["stats", "--count=2", "--json", "--watch", "targets"][..],
        &[
            "watch",
            "stats",
            "targets",
            "--every=100ms",
            "--count=2",
            "--json",
        ],
    ] {
        for look in target.watched(arguments) {
            let (tasks, runtime) = (&look["tasks"], &look["runtimes"][0]);
            for rate in ["polls", "spawned", "finished"] {
                assert!(float(&tasks[format!("{rate}_per_second")]) > 0.0, "{look}");
            }
            let busy = float(&runtime["busy_share"]);
            assert!(busy > 0.0 && busy <= 1.0, "{look}");
        }
    }
}

#[test]
fn a_pipe_gets_a_line_a_sample() {
    let target = Target::start(Build::Dev, &["churn"]);
    let pid = target.pid.to_string();
    let run = target
        .rtops(&["stats", &pid, "--watch", "100ms", "--count", "21"])
        .success();
    let lines: Vec<&str> = run.stdout.lines().collect();
    let (head, samples): (Vec<&str>, Vec<&str>) =
        lines.iter().partition(|line| line.starts_with("TIME"));
    assert_eq!((head.len(), samples.len()), (2, 21), "{run}");
    assert_eq!((lines[0], lines[21]), (head[0], head[1]), "{run}");
    // Figures are right-aligned with their titles, whatever their size.
    let last_of_longest = head[0].find("LONGEST").unwrap() + "LONGEST".len();
    for line in samples {
        assert_eq!(line.split_whitespace().count(), 14, "{run}");
        assert_eq!(&line[last_of_longest..=last_of_longest], " ", "{run}");
        assert!(!line[..last_of_longest].ends_with(' '), "{run}");
    }
}

#[test]
fn a_terminal_is_drawn_anew_in_one_place() {
    let target = Target::start(Build::Dev, &["churn"]);
    let pid = target.pid.to_string();
    let graph = Regex::new(r"^polls/s +[\d.]+( +[\d.]+)?  [▁-█]{5,}$").unwrap();
    for (size, peaks) in [(WIDE, true), (NARROW, false)] {
        let mut shell = Command::new("sh");
        let rtops = env!("CARGO_BIN_EXE_rtops");
        let script = format!("echo before; exec {rtops} stats {pid} --watch 100ms");
        shell
            .args(["-c", &script])
            .env("RTOPS_DIR", target.directory());
        let mut terminal = Terminal::run(size, &shell);
        eventually("there are five samples", || {
            terminal.lines().iter().any(|line| graph.is_match(line))
        });
        let modes = terminal.modes();
        terminal.keys("\x03");
        assert_eq!(terminal.wait().signal(), Some(Signal::SIGINT as i32));
        let lines = terminal.lines();
        let labels: Vec<&str> = lines
            .iter()
            .map(|line| line.split("  ").next().unwrap())
            .collect();
        assert_eq!(lines[0], "before");
        let title = format!("targets (pid {pid}), up ");
        assert!(lines[1].starts_with(&title), "{lines:#?}");
        assert_eq!(lines[3].contains("PEAK"), peaks, "{lines:#?}");
        let rows = [
            "polls/s",
            "spawned/s",
            "finished/s",
            "running",
            "longest poll",
            "tracked",
            "alive",
            "CPU",
            "RSS",
            "threads",
            "",
            "runtime \"tokio\"",
            "alive",
            "queue",
            "busy",
            "worker 0",
            "worker 1",
        ];
        assert_eq!(labels[4..21], rows, "{lines:#?}");
        assert!(lines.len() <= 22, "{lines:#?}");
        // The modes are restored, and the prompt comes below the picture.
        let screen = terminal.screen();
        assert!(!screen.hide_cursor() && !screen.alternate_screen());
        assert_eq!(screen.cursor_position().0, 21);
        assert_eq!(terminal.modes(), modes);
    }
}

#[test]
fn a_terminal_that_changes_is_drawn_at_once() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let terminal = target.watch_on(WIDE, &["stats", "targets", "--watch", "1h"]);
    terminal.expect("PEAK");
    terminal.expect("worker 1");
    terminal.resize(NARROW);
    eventually("the picture fits", || {
        let lines = terminal.lines();
        lines.iter().any(|line| line.ends_with("NOW")) && !lines.concat().contains("PEAK")
    });
    terminal.resize(Size { rows: 10, ..WIDE });
    terminal.expect("more lines)");
    terminal.resize(Size { rows: 60, ..WIDE });
    let pictures = || {
        let lines = terminal.lines();
        lines
            .iter()
            .filter(|line| line.starts_with("targets (pid"))
            .count()
    };
    terminal.expect("worker 1");
    let before = pictures();
    // The shell may have written below the picture meanwhile.
    terminal.signal(Signal::SIGCONT);
    eventually("there is a new picture below", || pictures() == before + 1);
}

#[test]
fn the_end_of_the_process_is_the_end() {
    let mut target = Target::start(Build::Dev, &["herd", "3"]);
    let pid = target.pid.to_string();
    let arguments = ["stats", &pid, "--watch", "100ms"];
    let mut terminal = target.watch_on(WIDE, &arguments);
    let mut running = Running::start(target.command_line(&[&arguments[..], &["--json"]].concat()));
    terminal.expect("worker 1");
    running.expect(|look| look["missing"].is_null());
    target.signal(Signal::SIGKILL);
    target.wait();
    let ended = format!("rtops: process {pid} (targets) has ended");
    assert_eq!(running.ends(), (Some(3), format!("{ended}\n")));
    assert_eq!(terminal.wait().code(), Some(3));
    let lines = terminal.lines();
    assert!(lines.contains(&ended), "{lines:#?}");
    // The last picture stays.
    assert!(
        lines.iter().any(|line| line.starts_with("worker 1")),
        "{lines:#?}"
    );
}

#[test]
fn a_sample_that_is_missing_is_said_to_be() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let pid = target.pid.to_string();
    let arguments = ["stats", &pid, "--watch", "100ms"];
    let mut running = Running::start(target.command_line(&[&arguments[..], &["--json"]].concat()));
    let terminal = target.watch_on(WIDE, &arguments);
    running.expect(|look| look["missing"].is_null());
    terminal.expect("worker 1");
    target.signal(Signal::SIGSTOP);
    // A sample that was under way when the target was stopped has no answer.
    let missing = running.expect(|look| {
        let reason = look["missing"].as_str();
        reason.is_some_and(|reason| reason.contains("is stopped (SIGSTOP)"))
    });
    assert_eq!(missing["tasks"], Value::Null);
    terminal.expect("is stopped (SIGSTOP)");
    target.signal(Signal::SIGCONT);
    let next = running.expect(|look| look["missing"].is_null());
    // The rates cover the whole time since the last sample.
    assert!(float(&next["interval_seconds"]) > 0.15, "{next}");
    eventually("the terminal goes on", || {
        !terminal.lines().concat().contains("is stopped")
    });
    let run = {
        target.signal(Signal::SIGSTOP);
        let run = target.rtops(&["stats", &pid, "--watch", "100ms"]).exits(1);
        target.signal(Signal::SIGCONT);
        run
    };
    assert_eq!(run.stdout, "", "{run}");
    assert!(run.stderr.contains("is stopped (SIGSTOP)"), "{run}");
}

#[test]
fn the_list_is_drawn_anew() {
    let first = Target::start(Build::Dev, &["herd", "3"]);
    let terminal = first.watch_on(WIDE, &["list", "--watch", "100ms"]);
    terminal.expect(&first.pid.to_string());
    let mut second = first.start_beside(Build::Dev, &["herd", "30"]);
    let pid = second.pid.to_string();
    terminal.expect(&pid);
    second.signal(Signal::SIGKILL);
    second.wait();
    eventually("the process that ended is gone", || {
        !terminal.lines().concat().contains(&pid)
    });
    let lines = terminal.lines();
    assert!(lines[0].starts_with("every "), "{lines:#?}");
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn a_pipe_gets_a_list_a_look() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let run = target
        .rtops(&["list", "--watch=100ms", "--count=2"])
        .success();
    let blocks: Vec<Vec<&str>> = run
        .stdout
        .split("\n\n")
        .map(|block| block.lines().collect())
        .collect();
    assert_eq!(blocks.len(), 2, "{run}");
    for block in blocks {
        assert_eq!(block.len(), 3, "{run}");
        assert!(
            block[0].ends_with('Z') && block[1].trim_start().starts_with("PID"),
            "{run}"
        );
        assert!(block[2].contains(&target.pid.to_string()), "{run}");
    }
    for document in target.watched(&["watch", "list", "--every=100ms", "--count=2", "--json"]) {
        assert_eq!(document["processes"][0]["pid"], target.pid);
        assert!(document["time"].is_string());
    }
}

#[test]
fn wrong_paces_are_refused() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    for arguments in [
        &["stats", "--watch", "99ms"][..],
        &["stats", "targets", "--watch", "99ms"],
        &["stats", "targets", "--watch", "soon"],
        &["list", "--watch", "2h"],
        &["list", "--count", "0"],
    ] {
        let run = target.rtops(arguments).exits(2);
        assert_eq!(run.stdout, "", "{run}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_watch() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    for arguments in [
        ["stats", "targets", "--watch=100ms"],
        ["list", "--watch=100ms", "--json"],
    ] {
        let mut child = target
            .command_line(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        drop(reader);
        let mut status = None;
        eventually("the watch ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0), "{arguments:?}");
    }
}
