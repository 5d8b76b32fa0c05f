//! From what the user typed to a conversation with that process's agent.

use std::time::{Duration, Instant};

use nix::unistd::{Uid, geteuid};
use procfs::process::{Process, all_processes};
use rtops_protocol::ProtocolError;

use crate::{
    args::TargetArgs,
    client::{Peer, Session, Unreachable},
    discover::{self, Candidate},
    error::Error,
    process::{Reader, executable_name},
    survey::{Answer, survey},
};

/// A process that was asked for, and the sockets to try.
#[derive(Debug)]
pub struct Target {
    pub pid: i32,
    timeout: Duration,
    candidates: Vec<Candidate>,
}

impl Target {
    /// Finds the process: by its id if the text is a number, else by its whole name.
    ///
    /// # Errors
    /// When there is no such process, several have the name, or it can't be seen.
    pub fn find(args: &TargetArgs) -> Result<Self, Error> {
        match args.target.parse::<i32>() {
            Ok(pid) if pid > 0 => Self::by_pid(pid, args.timeout),
            Ok(_) => Err(Error::Usage(format!("{} is no PID", args.target))),
            Err(_) => Self::by_name(&args.target, args.timeout),
        }
    }

    /// All processes with an agent that the user may talk to, also those that do not answer.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn all(timeout: Duration) -> Result<Vec<Self>, Error> {
        let found = survey(|_| Ok(()))?;
        let agents = found
            .into_iter()
            .filter(|surveyed| !matches!(&surveyed.answer, Answer::Wrong(ProtocolError::NotRtops)));
        let targets = agents.map(|surveyed| Self {
            pid: surveyed.pid,
            timeout,
            candidates: vec![surveyed.candidate],
        });
        Ok(targets.collect())
    }

    fn by_pid(pid: i32, timeout: Duration) -> Result<Self, Error> {
        let process = Process::new(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        Ok(Self {
            pid,
            timeout,
            candidates: discover::of_process(&process),
        })
    }

    fn by_name(name: &str, timeout: Duration) -> Result<Self, Error> {
        let mut matches = Vec::new();
        let mut any_silent = false;
        for surveyed in survey(|_| Ok(()))? {
            let found = match &surveyed.answer {
                Answer::Given(hello, ()) => Some(hello.name.clone()),
                Answer::Silent | Answer::Wrong(_) => name_of(surveyed.pid),
            };
            any_silent |= matches!(surveyed.answer, Answer::Silent);
            if found.as_deref() == Some(name) {
                matches.push(surveyed);
            }
        }
        if matches.len() > 1 {
            return Err(ambiguous(name, matches.iter().map(|found| found.pid)));
        }
        match matches.pop() {
            Some(found) => Ok(Self {
                pid: found.pid,
                timeout,
                candidates: vec![found.candidate],
            }),
            None if any_silent => Err(Error::NoAnswerByName(name.to_owned())),
            None => Err(unknown_name(name)),
        }
    }

    /// Connects and exchanges greetings. What follows is under the same deadline.
    ///
    /// # Errors
    /// When there is no agent, it may not be asked, does not answer, or speaks another version.
    pub fn open(&self) -> Result<Session, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut worst = None;
        for candidate in &self.candidates {
            match Peer::connect(candidate, deadline) {
                Ok(peer) if peer.pid == self.pid => {
                    return peer
                        .greet()
                        .map_err(|error| Error::conversation(self.pid, self.timeout, error));
                }
                // A socket left behind whose name another process took over.
                Ok(_) | Err(Unreachable::Stale) => {}
                Err(Unreachable::Forbidden) => worst = Some(self.forbidden()),
                Err(Unreachable::Silent) => {
                    worst = Some(Error::TimedOut {
                        pid: self.pid,
                        timeout: self.timeout,
                    });
                }
            }
        }
        Err(worst.unwrap_or_else(|| self.without_agent()))
    }

    /// Turns what went wrong in the conversation into what the user is told.
    pub fn conversation(&self, error: ProtocolError) -> Error {
        Error::conversation(self.pid, self.timeout, error)
    }

    /// The time that the agent may take for a dump: half, the rest is for sending it.
    pub fn agent_deadline_ms(&self) -> u32 {
        u32::try_from(self.timeout.as_millis() / 2).unwrap_or(u32::MAX)
    }

    /// No socket was found: there is none, or the user can't see it.
    fn without_agent(&self) -> Error {
        let Ok(process) = Process::new(self.pid) else {
            return Error::NoSuchProcess(self.pid);
        };
        let user = geteuid();
        let foreign = process
            .status()
            .is_ok_and(|status| Uid::from_raw(status.euid) != user);
        // A process of the same user in a container with more rights is closed as well.
        if !user.is_root() && (foreign || process.root().is_err()) {
            return self.forbidden();
        }
        Error::NoAgent {
            pid: self.pid,
            name: name_of(self.pid).unwrap_or_default(),
        }
    }

    fn forbidden(&self) -> Error {
        let owner = Process::new(self.pid)
            .and_then(|process| process.status())
            .map(|status| status.euid);
        match (owner, Reader::new()) {
            (Ok(uid), Ok(reader)) => Error::Permission {
                pid: self.pid,
                owner: reader.user(uid),
            },
            _ => Error::NoSuchProcess(self.pid),
        }
    }
}

/// The name of a process that does not say it itself.
fn name_of(pid: i32) -> Option<String> {
    let process = Process::new(pid).ok()?;
    executable_name(&process).or_else(|| process.stat().ok().map(|stat| stat.comm))
}

fn ambiguous(name: &str, pids: impl Iterator<Item = i32>) -> Error {
    let reader = Reader::new();
    let candidates = pids.map(|pid| {
        let figures = reader.as_ref().ok().and_then(|reader| reader.figures(pid));
        (
            pid,
            figures.map(|figures| figures.command).unwrap_or_default(),
        )
    });
    Error::Ambiguous {
        name: name.to_owned(),
        candidates: candidates.collect(),
    }
}

/// No agent has that name; a process that has it deserves the better answer.
fn unknown_name(name: &str) -> Error {
    let without_agent = all_processes().ok().and_then(|processes| {
        processes
            .flatten()
            .map(|process| process.pid())
            .find(|pid| name_of(*pid).as_deref() == Some(name))
    });
    match without_agent {
        Some(pid) => Error::NoAgent {
            pid,
            name: name.to_owned(),
        },
        None => Error::NoSuchName(name.to_owned()),
    }
}
