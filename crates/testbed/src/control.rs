//! The conversation with the test, over standard input and output.

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

/// Where the commands of the test come from.
#[derive(Debug)]
pub struct Control {
    commands: BufReader<File>,
    /// Held so that a read of the new standard input waits for ever.
    _silence: OwnedFd,
}

impl Control {
    /// Takes standard input away from the rest of the process, which finds a pipe in its place
    /// that nobody writes to.
    ///
    /// # Errors
    /// When there is no standard input, or too few descriptors.
    pub fn take() -> io::Result<Self> {
        let commands = io::stdin().as_fd().try_clone_to_owned()?;
        let (reader, silence) = pipe2(OFlag::O_CLOEXEC)?;
        dup2_stdin(reader)?;
        Ok(Self {
            commands: BufReader::new(File::from(commands)),
            _silence: silence,
        })
    }

    /// Says that the process is ready, then answers each line until there are no more:
    ///
    /// | command | answer |
    /// |---|---|
    /// | `check` | what `check` returns: a count that grows while the process goes on |
    /// | `stop` | `stopped`, when the agent is |
    /// | `start` | `started`, or why the agent did not start |
    ///
    /// Then it ends the process, whatever its threads are doing.
    ///
    /// # Errors
    /// When the test can't be heard or answered.
    pub fn serve(self, check: impl Fn() -> u64) -> Result<Never, String> {
        self.serve_with(check, |_| None)
    }

    /// The same, for a scenario that has commands of its own.
    ///
    /// # Errors
    /// When the test can't be heard or answered.
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
