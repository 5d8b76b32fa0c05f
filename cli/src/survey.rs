//! The same question to every agent at once; one that hangs delays nobody.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use procfs::ProcResult;
use rtops_protocol::{Hello, ProtocolError};

use crate::{
    client::{Peer, Session, Unreachable},
    discover::{self, Candidate},
    parallel::{self, Workers},
};

/// How long all agents together have.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many conversations there are at a time; only so many silent agents can delay one that
/// answers.
const WORKERS: Workers = Workers {
    most: 512,
    stack: 256 << 10,
};

/// A process with an agent.
#[derive(Debug)]
pub struct Surveyed<T> {
    pub pid: i32,
    pub candidate: Candidate,
    pub answer: Answer<T>,
}

/// What an agent made of the question.
#[derive(Debug)]
pub enum Answer<T> {
    /// It answered.
    Given(Hello, T),
    /// It did not, in time.
    Silent,
    /// The conversation went wrong.
    Wrong(ProtocolError),
}

/// Holds one conversation with each agent that the user may talk to, ordered by process id.
///
/// # Errors
/// When `/proc` can't be read.
pub fn survey<T: Send>(
    question: impl Fn(&mut Session) -> Result<T, ProtocolError> + Sync,
) -> ProcResult<Vec<Surveyed<T>>> {
    let deadline = Instant::now() + PATIENCE;
    let candidates = discover::everywhere()?;
    let answers = parallel::map(candidates, WORKERS, |candidate| {
        ask(candidate, deadline, &question)
    });
    let mut found: Vec<_> = answers.into_iter().flatten().collect();
    // Of two sockets of one process, the one that works is its agent's.
    found.sort_by_key(|surveyed| {
        let given = matches!(surveyed.answer, Answer::Given(..));
        (surveyed.pid, !given)
    });
    let mut seen = HashSet::new();
    found.retain(|surveyed| seen.insert(surveyed.pid));
    Ok(found)
}

fn ask<T>(
    candidate: Candidate,
    deadline: Instant,
    question: impl Fn(&mut Session) -> Result<T, ProtocolError>,
) -> Option<Surveyed<T>> {
    let (connected, hint) = (Peer::connect(&candidate, deadline), candidate.hint);
    let surveyed = |pid, answer| Surveyed {
        pid,
        candidate,
        answer,
    };
    let peer = match connected {
        Ok(peer) => peer,
        Err(Unreachable::Silent) => return Some(surveyed(hint?, Answer::Silent)),
        Err(Unreachable::Stale | Unreachable::Forbidden) => return None,
    };
    let pid = peer.pid;
    let answer = peer.greet().and_then(|mut session| {
        let answer = question(&mut session)?;
        Ok((session.hello, answer))
    });
    Some(match answer {
        Ok((hello, answer)) => surveyed(pid, Answer::Given(hello, answer)),
        Err(ProtocolError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            surveyed(pid, Answer::Silent)
        }
        Err(error) => surveyed(pid, Answer::Wrong(error)),
    })
}
