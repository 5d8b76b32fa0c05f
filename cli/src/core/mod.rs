//! A dump of a core file: its tasks and threads, told as an agent would tell of them.

mod records;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rtops_cells::Survey;
use rtops_image::{Core, Image, Options, find};
use rtops_protocol::ProtocolError;
use rtops_report::{
    dump::{Dump, Failure},
    escape::escape,
};

use crate::{
    args::CoreArgs,
    dump::{Saving, Taken},
    error::Error,
};

/// How much to find out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Which tasks there are.
    Census,
    /// Where they wait, too.
    Trees,
}

/// Opens the core file that was named, if one was.
///
/// # Errors
/// When there is no such core file, or it can't be read.
pub fn open(args: &CoreArgs) -> Result<Option<Core>, Error> {
    let Some(named) = &args.core else {
        return Ok(None);
    };
    let options = Options {
        exe: args.exe.clone(),
        sysroot: args.sysroot.clone(),
        ..Options::default()
    };
    let core = Core::open(&find(named)?, &options);
    core.map(Some).map_err(|error| unusable(&error))
}

fn unusable(reason: &dyn ToString) -> Error {
    Error::Core(escape(&reason.to_string()).into_owned())
}

/// Finds the tasks and threads in a core file, and saves them where that is wanted.
///
/// # Errors
/// When its memory can't be read, or the dump can't be saved.
pub fn load(
    core: &Core,
    detail: Detail,
    timeout: Duration,
    save: Option<&Path>,
) -> Result<Taken, Error> {
    let wanted = rtops_cells::Options {
        trees: detail == Detail::Trees,
        until: Instant::now().checked_add(timeout),
        workers: 0,
    };
    let survey = Survey::take(core, wanted).map_err(|error| unusable(&error))?;
    let at = SystemTime::now();
    let mut file = save
        .map(|path| Saving::begin(path, records::saved(core, at)))
        .transpose()?;
    let mut replies = records::replies(core, &survey).into_iter();
    let dump = Dump::receive(|| {
        let reply = replies.next().ok_or(ProtocolError::Unexpected(0))?;
        if let Some(file) = &mut file {
            file.add(&reply);
        }
        Ok(reply)
    });
    let dump = dump.map_err(|failure| match failure {
        Failure::Nonsense(reason) => unusable(&reason),
        Failure::Lost(error) => unusable(&error),
        Failure::Refused(refused) => unusable(&refused.message),
    })?;
    file.map(Saving::finish).transpose()?;
    let pid = core.head().pid.unwrap_or_default();
    let modules = core.modules().iter();
    let files = modules.filter_map(|module| {
        let file = module.file.as_ref().ok()?;
        let path = module.path.to_string_lossy().into_owned();
        Some((path, file.file.clone()))
    });
    Ok(Taken {
        pid,
        inner_pid: pid,
        name: core.head().program.clone(),
        agent_version: None,
        start_time: None,
        at,
        is_live: false,
        files: files.collect(),
        dump,
    })
}

/// The file that is meant: the named one, or the newest core file of that process or program.
fn find(named: &Path) -> Result<PathBuf, Error> {
    if named.exists() || named.components().count() != 1 {
        return Ok(named.to_owned());
    }
    let directory = Path::new(find::SYSTEMD_DIRECTORY);
    match find::newest(directory, named.as_os_str()) {
        Ok(Some(stored)) => Ok(stored.path),
        _ => {
            let name = named.to_string_lossy();
            Err(Error::NoCore(escape(&name).into_owned()))
        }
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
