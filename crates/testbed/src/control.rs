//! The dialogue with the test over standard input and output.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::fd::{AsFd, OwnedFd},
    process,
};

use nix::{
    fcntl::OFlag,
    unistd::{dup2_stdin, pipe2},
};

use crate::Never;

/// The source of the test's commands.
#[derive(Debug)]
pub struct Control {
    commands: BufReader<File>,
    /// Kept open, so that a read of the new standard input waits forever.
    _silence: OwnedFd,
}

impl Control {
    /// Takes standard input away from the rest of the process, and replaces
    /// it by a pipe that nobody writes to.
    ///
    /// # Errors
    /// If there is no standard input, or no descriptor is left.
    pub fn take() -> io::Result<Self> {
        let commands = io::stdin().as_fd().try_clone_to_owned()?;
        let (reader, silence) = pipe2(OFlag::O_CLOEXEC)?;
        dup2_stdin(reader)?;
        Ok(Self {
            commands: BufReader::new(File::from(commands)),
            _silence: silence,
        })
    }

    /// Prints that the process is ready, then answers each
    /// line until there are no more:
    ///
    /// | command | answer | |---|---| | `check` | the result of
    /// `check`: a count that grows while the process runs | |
    /// `stop` | `stopped`, once the agent is | | `start` |
    /// `started`, or why the agent did not start |
    ///
    /// Then ends the process, whatever its threads are doing.
    ///
    /// # Errors
    /// If the test can't be read or answered.
    pub fn serve(self, check: impl Fn() -> u64) -> Result<Never, String> {
        self.serve_with(check, |_| None)
    }

    /// Like [`serve`](Self::serve), for a scenario with additional commands.
    ///
    /// # Errors
    /// If the test can't be read or answered.
    pub fn serve_with(
        self,
        check: impl Fn() -> u64,
        own: impl Fn(&str) -> Option<String>,
    ) -> Result<Never, String> {
        self.converse(check, own)
            .map_err(|error| error.to_string())?;
        process::exit(0);
    }

    fn converse(
        self,
        check: impl Fn() -> u64,
        own: impl Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let mut answers = io::stdout().lock();
        writeln!(answers, "ready {}", process::id())?;
        for command in self.commands.lines() {
            let answer = match command?.as_str() {
                "check" => check().to_string(),
                "stop" => {
                    rtops_agent::stop();
                    "stopped".to_owned()
                }
                "start" => match rtops_agent::start() {
                    Ok(()) => "started".to_owned(),
                    Err(error) => error.to_string(),
                },
                other => own(other).unwrap_or_else(|| format!("unknown command {other:?}")),
            };
            writeln!(answers, "{answer}")?;
        }
        Ok(())
    }
}
