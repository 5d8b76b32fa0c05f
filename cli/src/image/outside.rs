//! A dump of a live process: it is frozen for a moment, what it had in memory then is read, and its agent is
//! asked for the rest, if it has one.

use std::{
    cell::Cell,
    collections::HashMap,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use procfs::process::Process;
use rtops_attach::{EndedEarly, Frozen, Held, How, Injection, Options, Refusal};
use rtops_image::{
    Tid,
    live::{self, Live},
};
use rtops_protocol::{Ask, NotAttached, Outside, StackParts};
use rtops_report::escape::escape;

use super::{Detail, Origin, Subject, Wanted, dump, files, marks::Marks, records};
use crate::{
    agent::{self, Told},
    args::{AttachArgs, AttachChoice},
    client::Session,
    dump::{Taken, host, inner_pid, saved},
    error::Error,
    process,
    target::Target,
};

/// What to find out of a live process.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub parts: StackParts,
    pub detail: Detail,
    pub attach: AttachArgs,
    /// Where to save it.
    pub save: Option<&'a Path>,
    /// After which polls are given up.
    pub timeout: Duration,
}

impl Look<'_> {
    fn options(&self) -> Options {
        let mut options = Options::default();
        options.max_pause = self.attach.max_pause.unwrap_or(options.max_pause);
        if self.attach.attach == AttachChoice::Always {
            options.injection = Injection::Always;
        }
        options
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            detail: match self.parts {
                StackParts::Threads => Detail::Census,
                StackParts::Tasks | StackParts::All => self.detail,
            },
            timeout: self.timeout,
            save: self.save,
        }
    }
}

/// Looks at a process from outside and asks its agent; one of the two is enough, unless the user wants it
/// otherwise. Says as well of which parts there is something to show.
///
/// # Errors
/// When neither can be done, the agent talks nonsense, or the dump can't be saved.
pub fn take(target: &Target, look: Look<'_>) -> Result<(Taken, StackParts), Error> {
    let choice = look.attach.attach;
    refuse_stopped(target.pid)?;
    let session = match target.open() {
        Err(Error::NoAgent { .. }) if choice != AttachChoice::Never => None,
        session => Some(session?),
    };
    let Some(mut session) = session else {
        return Ok((alone(target, look)?, look.parts));
    };
    if choice == AttachChoice::Never {
        return agent::take(target, &mut session, look, None);
    }
    agent::attach(target, &mut session)?;
    match Stopped::freeze(target, &look.options()) {
        Ok(stopped) => Ok((joined(target, &mut session, stopped, look)?, look.parts)),
        Err(Error::NotFrozen { reason, .. }) if choice == AttachChoice::Auto => {
            let not_attached = NotAttached { why: reason };
            agent::take(target, &mut session, look, Some(not_attached))
        }
        Err(error) => Err(error),
    }
}

/// Says at once of a process that is stopped why it can't be looked at: its agent would never answer.
///
/// # Errors
/// When it is stopped.
pub fn refuse_stopped(pid: i32) -> Result<(), Error> {
    let stat = Process::new(pid).and_then(|process| process.stat());
    match stat.map(|stat| stat.state) {
        Ok('T') => Err(refused(pid, &Refusal::Stopped)),
        _ => Ok(()),
    }
}

/// A process that stood still, or does so until this is dropped.
struct Stopped {
    pid: i32,
    process: Process,
    thread_names: HashMap<Tid, String>,
    frozen: Frozen,
}

impl Stopped {
    fn freeze(target: &Target, options: &Options) -> Result<Self, Error> {
        let pid = target.pid;
        let process = Process::new(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        // Before it stands still: whatever it is called then, it was called so a moment before.
        let thread_names = process::thread_names(&process);
        let frozen = rtops_attach::freeze(pid, options).map_err(|why| refused(pid, &why))?;
        Ok(Self {
            pid,
            process,
            thread_names,
            frozen,
        })
    }

    /// What was in its memory. The copy ends with the last argument of `then`.
    fn read<T>(
        self,
        inner: HashMap<Tid, i32>,
        then: impl FnOnce(&Live, Subject<'_>, Option<Held>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let origin = Origin::Outside(head(&self.frozen));
        let Frozen { parts, held, .. } = self.frozen;
        let image = Live::new(parts, &live::Options::default());
        let image = image.map_err(|error| unusable(self.pid, &error))?;
        let subject = Subject {
            pid: self.pid,
            name: process::name(&self.process).unwrap_or_default(),
            host: host(),
            start_time: self.process.stat().ok().map(|stat| stat.starttime),
            origin,
            thread_names: self.thread_names,
            inner,
            marks: Marks::default(),
            gaps: image.gaps(),
        };
        then(&image, subject, held)
    }
}

/// What is read of a process without an agent.
fn alone(target: &Target, look: Look<'_>) -> Result<Taken, Error> {
    let stopped = Stopped::freeze(target, &look.options())?;
    stopped.read(HashMap::new(), |image, subject, held| {
        let held = Cell::new(held);
        let unusable = |reason: &dyn ToString| unusable_copy(target.pid, reason, held.take());
        let late = || ended_early(held.take());
        super::take(image, &subject, look.wanted(), late, unusable)
    })
}

/// What is read of a process, and what its agent tells. It polls no task for that but those of which memory
/// does not tell where they wait, as it is with other executors than tokio.
fn joined(
    target: &Target,
    session: &mut Session,
    stopped: Stopped,
    look: Look<'_>,
) -> Result<Taken, Error> {
    let at = SystemTime::now();
    let stopped_at = stopped.frozen.went_on;
    let told = agent::ask(target, session, look.parts, Ask::Nobody)?;
    let hello = &session.hello;
    let inner = if inner_pid(hello) == target.pid {
        HashMap::new()
    } else {
        process::inner_tids(&stopped.process)
    };
    let (dump, files) = stopped.read(inner, |image, mut subject, held| {
        let held = Cell::new(held);
        let unusable = |reason: &dyn ToString| unusable_copy(target.pid, reason, held.take());
        let survey = super::survey(image, look.wanted(), told.noted(), unusable)?;
        let late = ended_early(held.take());
        let mut join = |told: Told, save| {
            subject.join(&told, stopped_at);
            let late = told.gaps.into_iter().chain(late.iter().cloned());
            let mut replies = told.replies;
            if replies.is_empty() {
                replies.push(records::process(&subject));
            }
            replies.extend(records::replies(image, &subject, &survey, late.collect()));
            dump(replies, save, unusable)
        };
        let save = look.save.map(|path| (path, saved(hello, target.pid, at)));
        let mut dump = join(told, save.clone())?;
        let unread = dump.unread();
        if look.wanted().detail == Detail::Trees && !unread.is_empty() {
            let mut session = target.open()?;
            let told = agent::ask(target, &mut session, look.parts, agent::unread(unread))?;
            dump = join(told, save)?;
        }
        Ok((dump, files(image)))
    })?;
    Ok(Taken {
        pid: target.pid,
        inner_pid: inner_pid(hello),
        name: hello.name.clone(),
        agent_version: Some(hello.agent_version.clone()),
        start_time: Some(hello.start_time),
        at,
        // The files of its modules are at hand.
        is_live: false,
        files,
        dump,
    })
}

impl Subject<'_> {
    /// Takes in by what tracked tasks are known, and how much later their agent told of them.
    fn join(&mut self, told: &Told, stopped_at: Instant) {
        self.marks = Marks::of(&told.replies);
        if let Origin::Outside(outside) = &mut self.origin {
            let at = told.at.unwrap_or_else(Instant::now);
            outside.agent_told_after_ns = Some(nanos(at.duration_since(stopped_at)));
        }
    }
}

fn refused(pid: i32, why: &Refusal) -> Error {
    match why {
        Refusal::NoProcess(_) | Refusal::Ended => Error::NoSuchProcess(pid),
        why => Error::NotFrozen {
            pid,
            may_not: matches!(why, Refusal::NoRights { .. }),
            reason: escape(&why.to_string()).into_owned(),
        },
    }
}

fn unusable(pid: i32, reason: &dyn ToString) -> Error {
    Error::Unreadable {
        pid,
        reason: escape(&reason.to_string()).into_owned(),
    }
}

/// If the copy has not lasted, that is why it can't be read.
fn unusable_copy(pid: i32, reason: &dyn ToString, held: Option<Held>) -> Error {
    match ended_early(held).first() {
        Some(why) => unusable(pid, why),
        None => unusable(pid, reason),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn head(frozen: &Frozen) -> Outside {
    Outside {
        pause_ns: nanos(frozen.pause),
        read_standing: match frozen.how {
            How::Copied => None,
            How::ReadStanding(why) => Some(why.to_string()),
        },
        // The survey will tell.
        has_tokio: false,
        threads_not_stopped: frozen.threads_not_stopped,
        agent_told_after_ns: None,
    }
}

/// What is missing if the copy has not lasted; it ends here.
fn ended_early(held: Option<Held>) -> Vec<String> {
    let ended = held.and_then(|mut held| held.ended_early());
    let why = ended.map(|ended| match ended {
        EndedEarly::Memory => {
            "the copy of the process was ended early, as it had used half of the memory that was free"
        }
        EndedEarly::Killed => "the copy of the process was killed by somebody else",
    });
    why.map(str::to_owned).into_iter().collect()
}
