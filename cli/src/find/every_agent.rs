//! Asks every agent the same question at once; one that hangs delays nobody.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use procfs::ProcResult;
use rtops_protocol::{Hello, ProtocolError};
use rtops_types::Pid;

use crate::find::{
    client::{Peer, Session, Unreachable},
    discover::{self, Candidate},
    parallel::{self, Workers},
};

/// How long all agents together may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many conversations there are at once; only this many
/// silent agents can delay one that answers.
const WORKERS: Workers = Workers {
    most: 512,
    stack: 256 << 10,
};

/// A process with an agent.
#[derive(Debug)]
pub struct Asked<T> {
    pub pid: Pid,
    pub candidate: Candidate,
    pub answer: Answer<T>,
}

/// How an agent responded to the question.
#[derive(Debug)]
pub enum Answer<T> {
    /// It answered.
    Given(Hello, T),
    /// It did not answer in time.
    Silent,
    /// The conversation went wrong.
    Wrong(ProtocolError),
}

/// Holds one conversation with each agent that the user may talk to; returns them ordered by PID.
///
/// # Errors
/// If `/proc` can't be read.
pub fn ask_every_agent<T: Send>(
    question: impl Fn(&mut Session) -> Result<T, ProtocolError> + Sync,
) -> ProcResult<Vec<Asked<T>>> {
    let deadline = Instant::now() + PATIENCE;
    let candidates = discover::everywhere()?;
    let answers = parallel::map(candidates, WORKERS, |candidate| {
        ask(candidate, deadline, &question)
    });
    let mut found: Vec<_> = answers.into_iter().flatten().collect();
    // If a process has two sockets, the one that works is its agent's.
    found.sort_by_key(|asked| {
        let given = matches!(asked.answer, Answer::Given(..));
        (asked.pid, !given)
    });
    let mut seen = HashSet::new();
    found.retain(|asked| seen.insert(asked.pid));
    Ok(found)
}

fn ask<T>(
    candidate: Candidate,
    deadline: Instant,
    question: impl Fn(&mut Session) -> Result<T, ProtocolError>,
) -> Option<Asked<T>> {
    let (connected, hint) = (Peer::connect(&candidate, deadline), candidate.hint);
    let asked = |pid, answer| Asked {
        pid,
        candidate,
        answer,
    };
    let peer = match connected {
        Ok(peer) => peer,
        Err(Unreachable::Silent) => return Some(asked(hint?, Answer::Silent)),
        Err(Unreachable::Stale | Unreachable::Forbidden) => return None,
    };
    let pid = peer.pid;
    let answer = peer.greet().and_then(|mut session| {
        let answer = question(&mut session)?;
        Ok((session.hello, answer))
    });
    Some(match answer {
        Ok((hello, answer)) => asked(pid, Answer::Given(hello, answer)),
        Err(ProtocolError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            asked(pid, Answer::Silent)
        }
        Err(error) => asked(pid, Answer::Wrong(error)),
    })
}
