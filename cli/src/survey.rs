//! The same question to every agent at once; one that hangs delays nobody.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use procfs::ProcResult;
use rtops_protocol::{Hello, ProtocolError};

use crate::{
    client::{Peer, Session, Unreachable},
    discover::{self, Candidate},
};

/// How long all agents together have.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most conversations at a time; only so many silent agents can delay one that answers.
const MAX_THREADS: usize = 512;

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
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(surveyed) = ask(candidate, deadline, &question)
                && let Ok(mut found) = found.lock()
            {
                found.push(surveyed);
            }
        }
    };
    // Where there are many agents, a part of them waits for a processor anyway.
    let helpers = candidates.len().min(MAX_THREADS).saturating_sub(1);
    thread::scope(|scope| {
        for _ in 0..helpers {
            let spawned = thread::Builder::new()
                .stack_size(256 << 10)
                .spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_default();
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
    candidate: &Candidate,
    deadline: Instant,
    question: impl Fn(&mut Session) -> Result<T, ProtocolError>,
) -> Option<Surveyed<T>> {
    let surveyed = |pid, answer| Surveyed {
        pid,
        candidate: candidate.clone(),
        answer,
    };
    let peer = match Peer::connect(candidate, deadline) {
        Ok(peer) => peer,
        Err(Unreachable::Silent) => return Some(surveyed(candidate.hint?, Answer::Silent)),
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
