//! A dump of a live process: it is frozen for a moment, what it had in memory then is read, and its
//! agent, if it has one, is asked for the rest.

use std::{
    collections::HashMap,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use procfs::process::Process;
use rtops_attach::{EndedEarly, Frozen, Held, How, Injection, Options, Refusal, Yielding};
use rtops_cells::{Inventory, Noted};
use rtops_image::{
    Tid,
    live::{self, Live},
};
use rtops_protocol::{Ask, NotAttached, Outside, Refused, StackParts};
use rtops_report::escape::escape;
use rtops_types::Pid;

use super::{
    Detail, Origin, Subject, Wanted, afterwards::Watched, dump, files, marks::Marks, records,
};
use crate::{
    args::{AttachArgs, AttachChoice},
    dump::{
        Saving, Taken,
        agent::{self, Told},
        host, inner_pid,
        reader::SymbolReader,
        saved,
    },
    error::Error,
    find::{client::Session, target::Target},
    proc::{self, Life, proc_files},
};

/// What to find out about a live process.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub parts: StackParts,
    pub detail: Detail,
    pub attach: AttachArgs,
    /// Where to save the dump.
    pub save: Option<&'a Path>,
    /// The time after which polls are given up.
    pub timeout: Duration,
    /// The reader that prepares to read symbols meanwhile.
    pub reader: Option<&'a SymbolReader<'a>>,
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
            reader: self.reader,
        }
    }
}

/// Looks at a process from outside and asks its agent; one of the two is enough, unless the user
/// says otherwise. Also returns the parts of which there is something to show.
///
/// # Errors
/// If neither can be done, the agent's answer makes no sense, or the dump can't be saved.
pub fn take(target: &Target, look: Look<'_>) -> Result<(Taken, StackParts), Error> {
    let choice = look.attach.attach;
    let session = match target.open() {
        Err(Error::NoAgent { .. }) if choice != AttachChoice::Never => None,
        session => Some(session?),
    };
    let Some(mut session) = session else {
        return Ok((alone(target, look, None)?, look.parts));
    };
    if choice == AttachChoice::Never {
        return agent::take(target, &mut session, look, None);
    }
    match agent::attach(target, &mut session) {
        Err(Error::Refused { refused, .. })
            if refused.why == rtops_protocol::Refusal::Permission =>
        {
            return without_permission(target, look, refused);
        }
        answer => answer?,
    }
    let joined = Stopped::freeze(target, &look.options())
        .and_then(|stopped| joined(target, &mut session, stopped, look));
    match joined {
        Ok(taken) => Ok((taken, look.parts)),
        // What the agent reports is useful without the memory, too.
        Err(Error::NotFrozen { reason, .. } | Error::Unreadable { reason, .. })
            if choice == AttachChoice::Auto =>
        {
            let mut session = target.open()?;
            let not_attached = NotAttached { why: reason };
            agent::take(target, &mut session, look, Some(not_attached))
        }
        Err(error) => Err(error),
    }
}

/// Looks at a process whose agent refuses this user, who may still trace it: root has no number in
/// the namespace of a rootless container, and is a stranger to an agent there.
fn without_permission(
    target: &Target,
    look: Look<'_>,
    refused: Refused,
) -> Result<(Taken, StackParts), Error> {
    let missing = format!("the agent tells nothing: {}", escape(&refused.message));
    match alone(target, look, Some(missing)) {
        Err(Error::NotFrozen { may_not: true, .. }) => Err(Error::Refused {
            pid: target.pid,
            refused,
        }),
        taken => Ok((taken?, look.parts)),
    }
}

/// How long to wait for another rtops that looks at the process, and how often to try again.
const TURN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(20);

/// Freezes a process, once any other rtops that has it frozen is done.
fn freeze(pid: Pid, options: &Options) -> Result<Frozen, Refusal> {
    let end = Instant::now() + TURN;
    loop {
        match rtops_attach::freeze(pid, options) {
            Err(Refusal::Traced(by)) if rtops_attach::is_helper(by) && Instant::now() < end => {
                thread::sleep(AGAIN);
            }
            frozen => return frozen,
        }
    }
}

/// How long all other processes go first while the image is read, interpreted and shown.
const YIELDING: Duration = Duration::from_secs(1);

/// A process that was stopped, or is stopped until this is dropped.
struct Stopped {
    pid: Pid,
    process: Process,
    thread_names: HashMap<Tid, String>,
    watched: Watched,
    frozen: Frozen,
    yielding: Option<Yielding>,
}

impl Stopped {
    fn freeze(target: &Target, options: &Options) -> Result<Self, Error> {
        let pid = target.pid;
        let process = proc_files::process(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        // Read before the freeze: a thread keeps its name for that moment.
        let thread_names = proc::thread_names(&process);
        let frozen = freeze(pid, options).map_err(|why| refused(pid, &why))?;
        Ok(Self {
            pid,
            watched: Watched::begin(&process),
            process,
            thread_names,
            frozen,
            yielding: Yielding::for_at_most(YIELDING),
        })
    }

    /// Finds what was in its memory and ends the copy, if any: by then all of it has been read.
    /// `noted` is where memory says which tracked futures were being polled.
    fn read(
        mut self,
        inner: HashMap<Tid, i32>,
        wanted: Wanted<'_>,
        noted: Option<Noted>,
        then: impl FnOnce(&Live, Subject<'_>, Inventory, Vec<String>) -> Result<Taken, Error>,
    ) -> Result<Taken, Error> {
        let head = head(&self.frozen);
        let mut copied = Copied::of(self.pid, &mut self.frozen);
        let image = Live::new(self.frozen.parts, &live::Options::default());
        let image = image.map_err(|error| copied.unusable(&error))?;
        let inventory = super::inventory(&image, Some(self.pid), wanted, noted);
        let inventory = inventory.map_err(|error| copied.unusable(&error))?;
        let late = copied.end();
        let origin = Origin::Outside(Outside {
            copy_ns: copied.lived.map(nanos),
            ..head
        });
        let subject = Subject {
            pid: self.pid,
            name: proc::name(&self.process).unwrap_or_default(),
            host: host(),
            start_time: self.process.stat().ok().map(|stat| stat.starttime),
            origin,
            thread_names: self.thread_names,
            inner,
            afterwards: match wanted.detail {
                Detail::Trees | Detail::InMemory => self.watched.end(&self.process, &inventory),
                Detail::Census => HashMap::new(),
            },
            marks: Marks::default(),
            gaps: image.gaps(),
        };
        let taken = then(&image, subject, inventory, late)?;
        Ok(Taken {
            yielding: self.yielding,
            ..taken
        })
    }
}

/// A copy, from its creation to its end.
struct Copied {
    pid: Pid,
    born: Instant,
    held: Option<Held>,
    /// How long it existed, once it has ended; also `None` if there was none.
    lived: Option<Duration>,
}

impl Copied {
    fn of(pid: Pid, frozen: &mut Frozen) -> Self {
        let (born, held) = (frozen.went_on, frozen.held.take());
        let has_ended = frozen.how == How::Copied && held.is_none();
        Self {
            pid,
            born,
            lived: has_ended.then(|| born.elapsed()),
            held,
        }
    }

    /// Ends the copy and records how long it existed. Returns what is missing if it ended early.
    fn end(&mut self) -> Vec<String> {
        let Some(held) = self.held.take() else {
            return Vec::new();
        };
        let ended = held.end();
        self.lived = Some(self.born.elapsed());
        let why = ended.map(|ended| match ended {
            EndedEarly::Memory => {
                "the copy of the process was ended early, as it had used half of the memory that was free"
            }
            EndedEarly::Killed => "the copy of the process was killed by somebody else",
        });
        why.map(str::to_owned).into_iter().collect()
    }

    /// Says why the copy can't be read: because it ended early, if it did.
    fn unusable(&mut self, reason: &dyn ToString) -> Error {
        let why = self.end().pop();
        let reason = why.unwrap_or_else(|| reason.to_string());
        unusable(self.pid, &reason)
    }
}

/// Reads a process without asking an agent; `missing` is one more gap.
fn alone(target: &Target, look: Look<'_>, missing: Option<String>) -> Result<Taken, Error> {
    let stopped = Stopped::freeze(target, &look.options())?;
    let wanted = look.wanted();
    stopped.read(
        HashMap::new(),
        wanted,
        None,
        |image, subject, inventory, mut late| {
            late.extend(missing);
            let unusable = |reason: &dyn ToString| unusable(target.pid, reason);
            super::alone(image, &subject, wanted, inventory, late, unusable)
        },
    )
}

/// Reads a process and adds what its agent reports. The agent polls only tasks whose wait can't be
/// found in memory, as with other executors than tokio.
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
    let inner = if inner_pid(hello) == target.pid.as_raw() {
        HashMap::new()
    } else {
        proc::inner_tids(&stopped.process)
    };
    let (wanted, noted) = (look.wanted(), told.noted());
    stopped.read(
        inner,
        wanted,
        noted,
        |image, mut subject, inventory, late| {
            let mut join = |told: Told, file: Option<&mut Saving>| {
                subject.join(&told, stopped_at);
                let late = told.gaps.into_iter().chain(late.iter().cloned());
                let mut replies = told.replies;
                if replies.is_empty() {
                    replies.push(records::process(&subject));
                }
                replies.extend(records::replies(
                    image,
                    &subject,
                    &inventory,
                    late.collect(),
                ));
                dump(replies, file, |reason| unusable(target.pid, reason))
            };
            let head = saved(hello, target.pid, at);
            let mut file = wanted.saving(&head)?;
            let mut dump = join(told, file.as_mut())?;
            let unread = dump.unread();
            if wanted.detail == Detail::Trees && !unread.is_empty() {
                // A complete first answer is better than part of a fuller one.
                match ask_again(target, look.parts, unread) {
                    Ok(again) => dump = join(again, file.as_mut())?,
                    Err(gaps) => {
                        if let Some(file) = &mut file {
                            file.lacks(&gaps);
                        }
                        dump.gaps.extend(gaps);
                    }
                }
            }
            file.map(Saving::finish).transpose()?;
            Ok(Taken {
                files: files(image),
                ..Taken::new(&head, hello.name.clone(), at, dump)
            })
        },
    )
}

/// Has the agent poll the tasks whose wait can't be found in memory, and report everything again.
/// If the answer breaks off, returns what is missing.
fn ask_again(target: &Target, parts: StackParts, unread: Vec<u64>) -> Result<Told, Vec<String>> {
    let again = target
        .open()
        .and_then(|mut session| agent::ask(target, &mut session, parts, agent::unread(unread)));
    match again {
        Ok(again) if again.is_whole => Ok(again),
        Ok(again) => Err(again.gaps),
        Err(error) => Err(vec![format!(
            "the agent does not say where the tasks wait that were not found in memory: {error}"
        )]),
    }
}

impl Subject<'_> {
    /// Takes over what identifies tracked tasks, and how much later their agent reported them.
    fn join(&mut self, told: &Told, stopped_at: Instant) {
        self.marks = Marks::of(&told.replies);
        if let Origin::Outside(outside) = &mut self.origin {
            let after = told.asked_at.duration_since(stopped_at);
            outside.agent_told_after_ns = Some(nanos(after));
        }
    }
}

fn refused(pid: Pid, why: &Refusal) -> Error {
    match why {
        Refusal::NoProcess(_) | Refusal::Ended => Error::NoSuchProcess(pid),
        // It has ended meanwhile, or is about to: its memory goes first.
        Refusal::System { .. } if Life::of(pid).is_none_or(Life::ends) => Error::NoSuchProcess(pid),
        why => Error::NotFrozen {
            pid,
            may_not: matches!(why, Refusal::NoRights { .. }),
            reason: escape(&why.to_string()).into_owned(),
        },
    }
}

fn unusable(pid: Pid, reason: &dyn ToString) -> Error {
    Error::Unreadable {
        pid,
        reason: escape(&reason.to_string()).into_owned(),
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
        copy_ns: None,
        // Set once the inventory is done.
        has_tokio: false,
        threads_not_stopped: frozen.threads_not_stopped,
        agent_told_after_ns: None,
    }
}
