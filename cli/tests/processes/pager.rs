//! Output that is longer than the terminal, in pagers that behave as real ones do.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::sys::signal::Signal;
use tempfile::{TempDir, tempdir};

use crate::{
    support::{Build, Run, Target, eventually},
    terminal::{Size, Terminal},
};

const SMALL: Size = Size {
    columns: 100,
    rows: 10,
};
const HIGH: Size = Size { rows: 200, ..SMALL };

/// Leaves when the user presses Enter.
const WAITS: &str = "read key < /dev/tty; echo left";

/// A pager that is a script and prints a line before it does anything else.
struct Script {
    folder: TempDir,
}

impl Script {
    fn new(does: &str) -> Self {
        let folder = tempdir().unwrap();
        let script = format!(
            "echo $$ > {}/pid\necho \"pager of LESS=$LESS\"\n{does}\n",
            folder.path().display()
        );
        fs::write(folder.path().join("pager"), script).unwrap();
        Self { folder }
    }

    fn command(&self) -> String {
        format!("sh {}", self.path("pager").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn has_run(&self) -> bool {
        self.path("pid").exists()
    }

    /// Returns the text that the pager was given and saved to a file.
    fn got(&self) -> String {
        fs::read_to_string(self.path("got")).unwrap_or_default()
    }

    fn is_gone(&self) -> bool {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        !Path::new("/proc").join(pid.trim()).exists()
    }
}

impl Target {
    fn paged(&self, size: Size, pager: &str, arguments: &[&str]) -> Terminal {
        Terminal::run(size, &self.command_with(pager, arguments))
    }

    fn command_with(&self, pager: &str, arguments: &[&str]) -> Command {
        let mut command = self.command_line(arguments);
        command
            .env("PATH", "/usr/bin:/bin")
            .env("PAGER", "no-such-program")
            .env("RTOPS_PAGER", pager);
        command
    }
}

/// Starts a service whose stacks, printed one by one, take more than a pipe holds.
fn crowd() -> Target {
    Target::start(Build::Dev, &["herd", "900"])
}

const LONG: [&str; 5] = ["stack", "targets", "--tasks", "--each", "--max-pause=10s"];
const SHORT: [&str; 4] = ["stack", "targets", "--tasks", "--max-pause=10s"];

#[test]
fn what_the_terminal_has_no_room_for_is_shown_in_a_pager() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let script = Script::new(&format!(
        "cat > \"${{0%/*}}/got\"; echo all is there; {WAITS}"
    ));
    let mut terminal = target.paged(SMALL, &script.command(), &SHORT);
    terminal.expect("all is there");
    let modes = terminal.modes();
    terminal.keys("\n");
    assert!(terminal.wait().success());
    assert_eq!(terminal.lines().last().unwrap(), "left");
    assert_eq!(terminal.modes(), modes);
    assert!(script.is_gone());
    let got = script.got();
    assert!(got.starts_with("\x1b[1mtargets (pid "), "{got}");
    assert!(got.contains("6 tasks"), "{got}");

    let mut terminal = target.paged(HIGH, &script.command(), &SHORT);
    assert!(terminal.wait().success());
    let lines = terminal.lines();
    assert!(lines[0].starts_with("targets (pid "), "{lines:#?}");
}

#[test]
fn findings_are_an_error_behind_a_pager_too() {
    let directory = Arc::new(tempdir().unwrap());
    let target = Target::start_in(directory, Build::gallery(), &["nil-channel"]);
    let pid = target.pid.to_string();
    let arguments = ["leaks", &pid, "--for=0", "--fail", "--max-pause=10s"];
    eventually("there are findings", || {
        target.rtops(&arguments).code == Some(10)
    });
    let script = Script::new("head -n 1");
    let size = Size { rows: 4, ..SMALL };
    let mut terminal = target.paged(size, &script.command(), &arguments);
    assert_eq!(terminal.wait().code(), Some(10));
    let lines = terminal.lines().join("\n");
    assert!(lines.contains("gallery (pid "), "{lines}");
    assert!(lines.contains("shown above"), "{lines}");
}

#[test]
fn whoever_leaves_early_makes_no_error() {
    let target = crowd();
    let script = Script::new("head -n 1");
    let mut terminal = target.paged(HIGH, &script.command(), &LONG);
    let status = terminal.wait();
    let lines = terminal.lines();
    assert!(status.success(), "{status} {lines:#?}");
    assert_eq!(lines[0], "pager of LESS=FRX");
    assert!(lines[1].starts_with("targets (pid "), "{lines:#?}");
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn ctrl_c_is_for_the_pager() {
    let target = crowd();
    // Like `less`, it keeps running; it has read nothing yet, and rtops can't write everything.
    let script = Script::new(&format!(
        "trap 'echo interrupted' INT; echo trapped; {WAITS}"
    ));
    let mut terminal = target.paged(SMALL, &script.command(), &LONG);
    terminal.expect("trapped");
    let modes = terminal.modes();
    terminal.keys("\x03");
    terminal.expect("interrupted");
    assert!(!script.is_gone());
    terminal.keys("\n");
    let status = terminal.wait();
    assert!(status.success(), "{status} {:#?}", terminal.lines());
    assert_eq!(terminal.modes(), modes);

    let script = Script::new(WAITS);
    let mut terminal = target.paged(SMALL, &script.command(), &LONG);
    terminal.expect("pager of");
    terminal.keys("\x03");
    assert!(terminal.wait().success());
    assert!(script.is_gone());
}

#[test]
fn what_ends_rtops_ends_the_pager() {
    let target = crowd();
    for (does, arguments) in [
        (WAITS, &LONG[..]),
        ("cat > /dev/null; exec sleep 1000", &SHORT),
    ] {
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let script = Script::new(does);
            let mut terminal = target.paged(SMALL, &script.command(), arguments);
            terminal.expect("pager of");
            terminal.signal(signal);
            assert_eq!(terminal.wait().signal(), Some(signal as i32));
            eventually("the pager is gone", || script.is_gone());
        }
    }
}

#[test]
fn a_signal_that_is_ignored_ends_neither() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let script = Script::new(&format!("cat > /dev/null; echo all is there; {WAITS}"));
    let rtops = target.command_with(&script.command(), &SHORT);
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP").arg(rtops.get_program());
    command.args(rtops.get_args());
    for (name, value) in rtops.get_envs() {
        command.env(name, value.unwrap());
    }
    let mut terminal = Terminal::run(SMALL, &command);
    terminal.expect("all is there");
    terminal.signal(Signal::SIGHUP);
    terminal.keys("\n");
    assert!(terminal.wait().success());
    assert_eq!(terminal.lines().last().unwrap(), "left");
}

#[test]
fn a_pager_that_is_not_wanted_is_not_started() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let script = Script::new("cat");
    let saved = script.path("saved").display().to_string();
    let written = script.path("written").display().to_string();
    for (pager, more) in [
        ("", &[][..]),
        ("cat", &[]),
        (&script.command(), &["--no-pager"]),
        (&script.command(), &["--json"]),
        (&script.command(), &["-o", &written]),
        (&script.command(), &["--save", &saved]),
    ] {
        let mut terminal = target.paged(SMALL, pager, &[&SHORT, more].concat());
        let status = terminal.wait();
        assert!(status.success(), "{more:?} {:#?}", terminal.lines());
        assert!(!script.has_run(), "{more:?}");
    }
    let mut pipe = target.command_line(&SHORT);
    pipe.env("RTOPS_PAGER", script.command());
    assert!(Run::of(pipe).success().stdout.lines().count() > 10);
    assert!(!script.has_run());
}

#[test]
fn where_a_pager_cannot_be_started_the_text_is_shown_with_a_warning() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let folder = tempdir().unwrap();
    let said = folder.path().join("said");
    let mut shell = Command::new("sh");
    let script = format!("exec \"$@\" 2> {}", said.display());
    let rtops = target.command_line(&SHORT);
    shell.args(["-c", &script, "sh"]).arg(rtops.get_program());
    shell.args(rtops.get_args());
    shell
        .env("RTOPS_DIR", target.directory())
        .env("RTOPS_PAGER", "no-such-pager -R");
    let mut terminal = Terminal::run(SMALL, &shell);
    assert!(terminal.wait().success());
    terminal.expect("tasks \"waits\"");
    let said = fs::read_to_string(said).unwrap();
    assert!(
        said.starts_with("rtops: can't start the pager no-such-pager: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
