//! A dump of a live process without an agent: it is frozen for a moment, and what it had in memory then is read.

use std::path::Path;

use nix::unistd::gethostname;
use procfs::process::Process;
use rtops_attach::{EndedEarly, Frozen, Held, How, Injection, Options, Refusal};
use rtops_image::live::{self, Live};
use rtops_protocol::Outside;
use rtops_report::escape::escape;

use super::{Detail, Origin, Subject, Wanted};
use crate::{
    args::{CopyArgs, CopyChoice, SourceArgs},
    client::Session,
    dump::Taken,
    error::Error,
    process,
    target::Target,
};

/// The agent to ask; `None` where there is none, and the process may be looked at from outside.
///
/// # Errors
/// When there is an agent that can't be asked, or there is none and nothing else is wanted.
pub fn agent(target: &Target, copy: CopyArgs) -> Result<Option<Session>, Error> {
    match target.open() {
        Err(Error::NoAgent { .. }) if copy.copy != CopyChoice::Never => Ok(None),
        other => other.map(Some),
    }
}

/// Where the tasks and threads of a process wait, saved where that is wanted.
///
/// # Errors
/// As [`take`].
pub fn trees(
    target: &Target,
    copy: CopyArgs,
    source: &SourceArgs,
    save: Option<&Path>,
) -> Result<Taken, Error> {
    let wanted = Wanted {
        detail: Detail::Trees,
        timeout: source.timeout,
        save,
    };
    take(target, copy, wanted)
}

/// Freezes a process, finds its tasks and threads, and saves them where that is wanted.
///
/// # Errors
/// When it can't be frozen without harm, its memory can't be read, or the dump can't be saved.
pub fn take(target: &Target, copy: CopyArgs, wanted: Wanted<'_>) -> Result<Taken, Error> {
    let pid = target.pid;
    let process = Process::new(pid).map_err(|_| Error::NoSuchProcess(pid))?;
    // Before it stands still: whatever it is called then, it was called so a moment before.
    let thread_names = process::thread_names(&process);
    let mut options = Options::default();
    options.max_pause = copy.max_pause.unwrap_or(options.max_pause);
    if copy.copy == CopyChoice::Always {
        options.injection = Injection::Always;
    }
    let frozen = rtops_attach::freeze(pid, &options).map_err(|why| refused(pid, &why))?;
    let head = head(&frozen);
    let Frozen { parts, held, .. } = frozen;
    let unusable = |reason: &dyn ToString| Error::Unreadable {
        pid,
        reason: escape(&reason.to_string()).into_owned(),
    };
    let image = Live::new(parts, &live::Options::default()).map_err(|error| unusable(&error))?;
    let host = gethostname().unwrap_or_default();
    let subject = Subject {
        pid,
        name: process::name(&process).unwrap_or_default(),
        host: host.to_string_lossy().into_owned(),
        start_time: process.stat().ok().map(|stat| stat.starttime),
        origin: Origin::Outside(head),
        thread_names,
        gaps: image.gaps(),
    };
    super::take(&image, &subject, wanted, || ended_early(held), unusable)
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

fn head(frozen: &Frozen) -> Outside {
    Outside {
        pause_ns: u64::try_from(frozen.pause.as_nanos()).unwrap_or(u64::MAX),
        read_standing: match frozen.how {
            How::Copied => None,
            How::ReadStanding(why) => Some(why.to_string()),
        },
        // The survey will tell.
        has_tokio: false,
        threads_not_stopped: frozen.threads_not_stopped,
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
