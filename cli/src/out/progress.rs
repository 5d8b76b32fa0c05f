//! A line on standard error that shows that rtops is still at work.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rtops_report::format;

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_millis(500);

/// Shows its text while it exists, if that is long and standard error is a terminal.
#[derive(Debug)]
pub struct Progress {
    shown_by: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts waiting.
    pub fn start(text: String) -> Self {
        let (stop, stopped) = mpsc::channel();
        let show = move || {
            let started = Instant::now();
            let mut patience = PATIENCE;
            let mut shown = false;
            while stopped.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let elapsed = format::duration(started.elapsed());
                // Progress that can't be shown is no reason to fail.
                shown |= write!(io::stderr(), "\r\x1b[K{text} ({elapsed})").is_ok();
                patience = REFRESH;
            }
            if shown {
                drop(write!(io::stderr(), "\r\x1b[K"));
            }
        };
        let thread = io::stderr()
            .is_terminal()
            .then(|| thread::Builder::new().spawn(show).ok())
            .flatten();
        Self {
            shown_by: thread.map(|thread| (stop, thread)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.shown_by.take() {
            drop(stop);
            // The thread panics only if standard error broke, and then nothing is shown anyway.
            drop(thread.join());
        }
    }
}
