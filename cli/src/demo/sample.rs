//! The sample service as a child process.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd,
};

use super::{failed, service};
use crate::error::Error;

/// How long the sample service may take to get all its tasks into place.
const START_TIME: Duration = Duration::from_secs(30);
/// How long the service may take to remove its socket and exit.
const END_TIME: Duration = Duration::from_secs(2);
/// How often to check whether the service has ended.
const PULSE: Duration = Duration::from_millis(5);

/// The sample service, which ends when this is dropped or when this process ends.
pub(super) struct Sample(Child);

impl Sample {
    /// Starts this program as the service and waits until all its tasks are in place.
    pub(super) fn start(program: &Path) -> Result<Self, Error> {
        let child = Command::new(program)
            .args(["demo", "--serve", "--parent"])
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It learns of Ctrl-C by the end of this process, and then can remove its socket.
            .process_group(0)
            .spawn()
            .map_err(failed("start its service"))?;
        let mut sample = Self(child);
        sample.wait_ready()?;
        Ok(sample)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn wait_ready(&mut self) -> Result<(), Error> {
        let Some(stdout) = self.0.stdout.take() else {
            return Ok(());
        };
        let (sender, receiver) = mpsc::channel();
        // A thread, because reading a pipe has no timeout. It ends with the service.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if line.is_ok_and(|line| line.starts_with(service::READY)) {
                    // The receiver is gone if the start took too long.
                    sender.send(()).ok();
                }
            }
        });
        receiver.recv_timeout(START_TIME).map_err(|_| {
            Error::Failed("the demo's service did not start; try `rtops demo --serve`".to_owned())
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let end = Instant::now() + END_TIME;
        if let Ok(pid) = i32::try_from(self.pid())
            && !self.has_ended()
        {
            // It may have ended already, which is fine.
            kill(unistd::Pid::from_raw(pid), Signal::SIGTERM).ok();
            while !self.has_ended() && Instant::now() < end {
                thread::sleep(PULSE);
            }
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
