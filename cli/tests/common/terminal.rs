//! A terminal for programs that draw on one, and what a user would see on it.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    pty::openpty,
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::{Parser, Screen};

use super::support::{DEADLINE, eventually};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// A terminal with a program on it, which is killed on drop.
pub struct Terminal {
    keyboard: File,
    parser: Arc<Mutex<Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

impl Terminal {
    /// Runs a program in a session that the terminal controls.
    pub fn run(size: Size, command: &Command) -> Self {
        let pty = openpty(None, None).unwrap();
        let keyboard = File::from(pty.master);
        set_size(&keyboard, size);
        let mut session = Command::new("setsid");
        // Ctrl-C may be ignored where the tests run, as in a background job of a
        // script, and so may SIGHUP, as below `nohup`.
        session.args(["--ctty", "env", "--default-signal=INT,HUP"]);
        session.arg(command.get_program());
        session.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap());
        }
        let child = session
            .env("TERM", "xterm")
            .stdin(Stdio::from(pty.slave.try_clone().unwrap()))
            .stdout(Stdio::from(pty.slave.try_clone().unwrap()))
            .stderr(Stdio::from(pty.slave))
            .spawn()
            .unwrap();
        let parser = Arc::new(Mutex::new(Parser::new(size.rows, size.columns, 1000)));
        let mut output = keyboard.try_clone().unwrap();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (shown, all) = (Arc::clone(&parser), Arc::clone(&written));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails once nobody has the terminal open.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                all.lock().unwrap().extend(&buffer[..length]);
                shown.lock().unwrap().process(&buffer[..length]);
            }
        });
        Self {
            keyboard,
            parser,
            written,
            reader: Some(reader),
            child,
        }
    }

    /// Types these keys.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Resizes the window.
    pub fn resize(&self, size: Size) {
        let mut parser = self.parser.lock().unwrap();
        parser.screen_mut().set_size(size.rows, size.columns);
        drop(parser);
        set_size(&self.keyboard, size);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Returns the current contents of the screen.
    pub fn screen(&self) -> Screen {
        self.parser.lock().unwrap().screen().clone()
    }

    /// Returns the lines of the screen, without trailing spaces.
    pub fn lines(&self) -> Vec<String> {
        let shown = self.screen().contents();
        shown.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until a line contains this text.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        self.expect_in(text, Self::lines);
    }

    /// Waits until the line at the cursor ends with this text.
    #[track_caller]
    pub fn expect_typed(&self, text: &str) {
        self.expect_in(text, |terminal| {
            let screen = terminal.screen();
            let (row, _) = screen.cursor_position();
            // Rows and not lines: a line that is longer than the terminal is wide has several rows.
            let (_, columns) = screen.size();
            let rows = screen.rows(0, columns).skip(row.into());
            rows.filter(|line| line.trim_end().ends_with(text))
                .collect()
        });
    }

    #[track_caller]
    fn expect_in(&self, text: &str, lines: impl Fn(&Self) -> Vec<String>) {
        let end = Instant::now() + DEADLINE;
        while !lines(self).iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < end, "{text:?} in {:#?}", self.lines());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns everything written so far, including what is not shown, such as links.
    pub fn written(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    /// Returns how the terminal treats input and output.
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.keyboard).unwrap()
    }

    /// Waits until the program has ended and all its output is shown.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program on the terminal ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn set_size(terminal: &File, size: Size) {
    let size = Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}
