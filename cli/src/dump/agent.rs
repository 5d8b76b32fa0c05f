//! What an agent reports about its process in a dump.

use std::time::{Instant, SystemTime};

use rtops_cells::Noted;
use rtops_protocol::{
    Ask, Capabilities, DumpRequest, NotAttached, ProtocolError, Reply, Request, StackParts,
};
use rtops_report::escape::escape;

use crate::{
    dump::{
        self, Saving, Taken,
        image::{Detail, outside::Look},
        saved,
    },
    error::Error,
    find::{client::Session, target::Target},
};

/// An agent's replies, without the end, and what is missing from them.
pub struct Told {
    pub replies: Vec<Reply>,
    pub gaps: Vec<String>,
    /// When the agent was asked: what it says is no older than this.
    pub asked_at: Instant,
    /// Whether the replies were received to the end.
    pub is_whole: bool,
}

impl Told {
    /// Returns where memory says which tracked futures are being polled.
    pub fn noted(&self) -> Option<Noted> {
        self.replies.iter().find_map(|reply| match reply {
            Reply::Process(process) => process.tracking.map(|tracking| Noted {
                word: tracking.current,
                function: tracking.keeps_waker,
            }),
            _ => None,
        })
    }
}

/// Asks the agent to let this process trace the target.
///
/// # Errors
/// If the exchange fails or the agent refuses.
pub fn attach(target: &Target, session: &mut Session) -> Result<(), Error> {
    let failed = |error| target.conversation(error);
    session.ask(&Request::Attach).map_err(failed)?;
    match session.next().map_err(failed)? {
        Reply::End(_) => Ok(()),
        Reply::Refused(refused) => Err(Error::Refused {
            pid: target.pid,
            refused,
        }),
        _ => Err(target.nonsense("an answer to what was not asked")),
    }
}

/// Returns what the agent is to poll: the tasks whose wait can't be found in memory.
pub fn unread(tasks: Vec<u64>) -> Ask {
    /// More do not fit into a request.
    const MOST: usize = 4096;
    if tasks.len() > MOST {
        Ask::Tasks
    } else {
        Ask::These(tasks)
    }
}

/// Asks the agent of a process that is also inspected from outside.
///
/// # Errors
/// If the agent's answer makes no sense. A missing answer is a gap, not an error.
pub fn ask(
    target: &Target,
    session: &mut Session,
    parts: StackParts,
    ask: Ask,
) -> Result<Told, Error> {
    let request = Request::Dump(DumpRequest {
        parts,
        deadline_ms: target.agent_deadline_ms(),
        ask,
    });
    // The earliest possible time. The answer arrives after it was made, much later on a busy
    // machine, and tasks younger than the delay would be taken for new ones.
    let mut told = Told {
        asked_at: Instant::now(),
        replies: Vec::new(),
        gaps: Vec::new(),
        is_whole: false,
    };
    let mut next = session.ask(&request).and_then(|()| session.next());
    loop {
        match next {
            Ok(Reply::End(end)) => {
                told.gaps.extend(end.gaps);
                told.is_whole = true;
                return Ok(told);
            }
            Ok(Reply::Refused(refused)) => {
                let said = escape(&refused.message);
                told.gaps.push(format!("the agent tells nothing: {said}"));
                return Ok(told);
            }
            Ok(reply) => told.replies.push(reply),
            Err(ProtocolError::Io(error)) => {
                told.gaps.push(format!(
                    "the agent did not tell all that it knows ({error}): names and ages may be missing; try \
                     a longer --timeout"
                ));
                return Ok(told);
            }
            Err(error) => return Err(target.conversation(error)),
        }
        next = session.next();
    }
}

/// Takes a dump from the agent alone. What came before a broken connection is a dump with gaps.
///
/// # Errors
/// If the agent gives no dump, or nothing of what is wanted, or the file can't be written.
pub fn take(
    target: &Target,
    session: &mut Session,
    look: Look<'_>,
    not_attached: Option<NotAttached>,
) -> Result<(Taken, StackParts), Error> {
    let (parts, lack) = parts(look.parts, session)?;
    let request = Request::Dump(DumpRequest {
        parts,
        deadline_ms: target.agent_deadline_ms(),
        ask: match look.detail {
            Detail::Census | Detail::InMemory => Ask::Nobody,
            Detail::Trees => Ask::TasksAndThreads,
        },
    });
    let sent = session.ask(&request);
    sent.map_err(|error| target.conversation(error))?;
    let at = SystemTime::now();
    let head = saved(&session.hello, target.pid, at);
    let mut file = look
        .save
        .map(|path| Saving::begin(path, head.clone()))
        .transpose()?;
    let mut first = not_attached.map(Reply::NotAttached);
    let mut dump = dump::receive(target, || {
        let reply = first.take().map_or_else(|| session.next(), Ok)?;
        if let Some(file) = &mut file {
            file.stream(&reply);
        }
        Ok(reply)
    })?;
    let lack: Vec<String> = lack.map(str::to_owned).into_iter().collect();
    if let Some(file) = &mut file {
        file.lacks(&lack);
    }
    file.map(Saving::finish).transpose()?;
    dump.gaps.extend(lack);
    let taken = Taken {
        is_live: true,
        ..Taken::new(&head, session.hello.name.clone(), at, dump)
    };
    Ok((taken, parts))
}

/// Returns what to ask for, and what has to be left out because the agent can't report it.
fn parts(
    wanted: StackParts,
    session: &Session,
) -> Result<(StackParts, Option<&'static str>), Error> {
    let has = |capability| session.hello.capabilities.has(capability);
    let (tasks, threads) = (has(Capabilities::TASKS), has(Capabilities::THREADS));
    let incapable = |what| Error::Incapable {
        pid: session.pid,
        version: session.hello.agent_version.clone(),
        what,
    };
    match (wanted, tasks, threads) {
        (StackParts::Tasks, false, _) => Err(incapable("list tasks")),
        (StackParts::Threads, _, false) => Err(incapable("take the stacks of threads")),
        (StackParts::All, false, false) => Err(incapable("take stacks")),
        (StackParts::All, true, false) => Ok((
            StackParts::Tasks,
            Some("this agent can't take the stacks of threads; --tasks asks for the rest only"),
        )),
        (StackParts::All, false, true) => Ok((
            StackParts::Threads,
            Some("this agent can't list tasks; --threads asks for the rest only"),
        )),
        (wanted, ..) => Ok((wanted, None)),
    }
}
