//! From what the user typed to a conversation with that process's agent.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{Uid, geteuid};
use procfs::process::Process;
use rtops_protocol::{ProtocolError, Reply, Request};
use rtops_types::Pid;

use crate::{
    args::TargetArgs,
    error::Error,
    find::{
        client::{Peer, Session, Unreachable},
        discover::{self, Candidate},
        every_agent::{Answer, Asked, ask_every_agent},
        named::{self, Meant, Named, Several},
        only::{self, Candidates},
    },
    proc::{self, Reader, proc_files},
};

/// A process that was asked for, and the sockets to try.
#[derive(Debug)]
pub struct Target {
    pub pid: Pid,
    timeout: Duration,
    candidates: Vec<Candidate>,
}

/// Which processes a name can mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Among {
    Agents,
    All,
}

impl Target {
    /// Finds a process whose agent is to be asked: by its id if the text is the id of a process,
    /// else by its name among those that have an agent.
    ///
    /// # Errors
    /// If there is no such process, several are meant, or the user can't see it.
    pub fn find(args: &TargetArgs) -> Result<Self, Error> {
        Self::find_among(Among::Agents, args)
    }

    /// Returns all processes with an agent that the user may talk to, even if it does not answer.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn all(timeout: Duration) -> Result<Vec<Self>, Error> {
        let found = ask_every_agent(|_| Ok(()))?;
        let agents = found
            .into_iter()
            .filter(|asked| !matches!(&asked.answer, Answer::Wrong(ProtocolError::NotRtops)));
        let targets = agents.map(|asked| Self {
            pid: asked.pid,
            timeout,
            candidates: vec![asked.candidate],
        });
        Ok(targets.collect())
    }

    /// Finds a process with or without an agent: by its name among those that have one,
    /// then among all that the user may see.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_any(args: &TargetArgs) -> Result<Self, Error> {
        Self::find_among(Among::All, args)
    }

    /// As [`Self::find_any`]; without a name, finds the only process that can be meant.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn named_or_only(named: Option<&String>, timeout: Duration) -> Result<Self, Error> {
        let target = match named {
            Some(named) => named.clone(),
            None => only::process(Candidates::All)?.to_string(),
        };
        Self::find_any(&TargetArgs { target, timeout })
    }

    fn find_among(among: Among, args: &TargetArgs) -> Result<Self, Error> {
        let (text, timeout) = (&args.target, args.timeout);
        if text.is_empty() {
            return Err(Error::Usage("a target is a PID or a name".to_owned()));
        }
        let Ok(pid) = text.parse::<Pid>() else {
            return Self::by_name(among, text, timeout);
        };
        if let Ok(process) = proc_files::process(pid) {
            return Ok(Self::of_process(&whole(process), timeout));
        }
        // A number may also be a name.
        Self::by_name(among, text, timeout).map_err(|error| match error {
            Error::NoSuchName(_) if pid.as_raw() > 0 => Error::NoSuchProcess(pid),
            Error::NoSuchName(_) => Error::Usage(format!("{pid} is no PID")),
            other => other,
        })
    }

    fn of_process(process: &Process, timeout: Duration) -> Self {
        Self {
            pid: Pid::new(process.pid()),
            timeout,
            candidates: discover::of_process(process),
        }
    }

    fn by_name(among: Among, text: &str, timeout: Duration) -> Result<Self, Error> {
        let agents: Vec<Asked<()>> = ask_every_agent(|_| Ok(()))?;
        let any_silent = agents
            .iter()
            .any(|asked| matches!(asked.answer, Answer::Silent));
        let named: Vec<Named> = agents.iter().filter_map(Named::of_agent).collect();
        let mut others = Vec::new();
        if among == Among::All {
            others = Named::of_all_but(&named)?;
        }
        let pid = match named::meant(text, &[&named, &others]) {
            Meant::One(pid) => pid,
            Meant::Several(several) => return Err(Error::Ambiguous(several)),
            Meant::None if any_silent => return Err(Error::NoAnswerByName(text.to_owned())),
            Meant::None if among == Among::Agents => return elsewhere(text, &named, timeout),
            Meant::None => return Err(Error::NoSuchName(text.to_owned())),
        };
        if let Some(found) = agents.into_iter().find(|asked| asked.pid == pid) {
            return Ok(Self {
                pid,
                timeout,
                candidates: vec![found.candidate],
            });
        }
        let process = proc_files::process(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        Ok(Self::of_process(&process, timeout))
    }

    /// Connects and exchanges greetings. The deadline also covers what follows.
    ///
    /// # Errors
    /// If there is no agent, the process is stopped, or the agent may not be asked, does
    /// not answer, or speaks another version.
    pub fn open(&self) -> Result<Session, Error> {
        refuse_silent(self.pid)?;
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

    /// As [`Self::open`]; returns `None` if the process has no agent.
    ///
    /// # Errors
    /// If the process has an agent, or may have one, that can't be asked.
    pub fn open_if_any(&self) -> Result<Option<Session>, Error> {
        match self.open() {
            Ok(session) => Ok(Some(session)),
            Err(Error::NoAgent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for an answer of one frame, which `wanted` extracts from the reply.
    ///
    /// # Errors
    /// If the conversation fails, the agent refuses, or the answer ends without that
    /// frame; `without` names such an answer.
    pub fn ask<T>(
        &self,
        session: &mut Session,
        request: &Request,
        wanted: impl Fn(Reply) -> Option<T>,
        without: &str,
    ) -> Result<T, Error> {
        let failed = |error| self.conversation(error);
        session.ask(request).map_err(failed)?;
        match session.next().map_err(failed)? {
            Reply::Refused(refused) => Err(Error::Refused {
                pid: self.pid,
                refused,
            }),
            reply => wanted(reply).ok_or_else(|| self.nonsense(without)),
        }
    }

    /// Returns the error for an answer that makes no sense.
    pub fn nonsense(&self, reason: &str) -> Error {
        Error::Nonsense {
            pid: self.pid,
            reason: reason.to_owned(),
        }
    }

    /// Turns an error of the conversation into what the user is told.
    pub fn conversation(&self, error: ProtocolError) -> Error {
        Error::conversation(self.pid, self.timeout, error)
    }

    /// Returns the milliseconds the agent may take for a dump: half; the rest is for sending.
    pub fn agent_deadline_ms(&self) -> u32 {
        u32::try_from(self.timeout.as_millis() / 2).unwrap_or(u32::MAX)
    }

    /// Says why no socket was found: there is none, or the user can't see it.
    fn without_agent(&self) -> Error {
        let Ok(process) = proc_files::process(self.pid) else {
            return Error::NoSuchProcess(self.pid);
        };
        let user = geteuid();
        let foreign =
            proc_files::status(&process).is_ok_and(|status| Uid::from_raw(status.euid) != user);
        // A process of the same user in a container with more privileges is closed to us as well.
        if !user.is_root() && (foreign || process.root().is_err()) {
            return self.forbidden();
        }
        Error::NoAgent {
            pid: self.pid,
            name: proc::name(&process).unwrap_or_default(),
        }
    }

    fn forbidden(&self) -> Error {
        let owner = proc_files::process(self.pid)
            .and_then(|process| proc_files::status(&process))
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

/// Anyone who looks at a process from outside stops it for a moment, which is no reason to give up.
const MOMENT: Duration = Duration::from_millis(250);

/// Returns an error if a process is stopped or a zombie: it would never answer.
fn refuse_silent(pid: Pid) -> Result<(), Error> {
    let end = Instant::now() + MOMENT;
    loop {
        let process = proc_files::process(pid);
        let stat = process
            .as_ref()
            .ok()
            .and_then(|process| process.stat().ok());
        match stat.as_ref().map(|stat| stat.state) {
            Some('Z' | 'X') => {
                return Err(Error::Zombie {
                    pid,
                    name: stat.map_or_else(String::new, |stat| stat.comm),
                });
            }
            Some('T') => return Err(Error::Stopped { pid, tracer: None }),
            Some('t') if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            Some('t') => {
                let status = process
                    .ok()
                    .and_then(|process| proc_files::status(&process).ok());
                let tracer = status.map_or(0, |status| status.tracerpid);
                return Err(Error::Stopped {
                    pid,
                    tracer: Some(Pid::new(tracer)),
                });
            }
            _ => return Ok(()),
        }
    }
}

/// Returns the process that a thread belongs to: `rtops stack` shows the ids of
/// threads, and /proc has a directory for each.
fn whole(process: Process) -> Process {
    let main = proc_files::status(&process).ok().map(|status| status.tgid);
    main.filter(|main| *main != process.pid())
        .and_then(|main| proc_files::process(Pid::new(main)).ok())
        .unwrap_or(process)
}

/// Looks for a name that no known agent has. A process of this name may have an agent
/// elsewhere, or deserves a better error message.
fn elsewhere(name: &str, agents: &[Named], timeout: Duration) -> Result<Target, Error> {
    let others = Named::of_all_but(agents).unwrap_or_default();
    let named = others.iter().filter(|named| named.name == name);
    let (mut with_agent, without): (Vec<Target>, Vec<Target>) = named
        .filter_map(|named| proc_files::process(named.pid).ok())
        .map(|process| Target::of_process(&process, timeout))
        .partition(|target| !target.candidates.is_empty());
    let no_agent = || {
        let no_process = || Error::NoSuchName(name.to_owned());
        without
            .first()
            .map_or_else(no_process, Target::without_agent)
    };
    match with_agent.len() {
        0 | 1 => with_agent.pop().ok_or_else(no_agent),
        _ => {
            let pids: Vec<Pid> = with_agent.iter().map(|target| target.pid).collect();
            let named = others.iter().filter(|named| pids.contains(&named.pid));
            Err(Error::Ambiguous(Several::named(
                name,
                named.cloned().collect(),
            )))
        }
    }
}
