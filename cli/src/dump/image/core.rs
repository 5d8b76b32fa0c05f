//! A dump of a core file.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rtops_cells::Inventory;
use rtops_image::{Core, Image as _, Options, Origin, Writer, find};
use rtops_protocol::{CoreHead, Sender, Signal};
use rtops_report::escape::escape;
use rtops_types::Pid;

use super::{Subject, Wanted};
use crate::{
    args::CoreArgs,
    dump::{self, Taken},
    error::Error,
};

/// Opens the core file that was named, if any.
///
/// # Errors
/// If there is no such core file, or it can't be read.
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

/// Finds the tasks and threads in a core file, and saves them if wanted.
///
/// # Errors
/// If its memory can't be read, or the dump can't be saved.
pub fn load(core: &Core, wanted: Wanted<'_>) -> Result<Taken, Error> {
    let subject = Subject {
        pid: Pid::new(core.head().pid.unwrap_or_default()),
        name: core.head().program.clone(),
        host: core.head().host.clone().unwrap_or_default(),
        start_time: None,
        origin: super::Origin::Core(core),
        thread_names: HashMap::new(),
        inner: HashMap::new(),
        afterwards: HashMap::new(),
        marks: super::Marks::default(),
        gaps: core.gaps(),
    };
    let inventory = super::inventory(core, None, wanted, None).map_err(|error| unusable(&error))?;
    super::alone(core, &subject, wanted, inventory, Vec::new(), unusable)
}

/// Returns the named file, or the newest core file of the process or program of that name.
fn find(named: &Path) -> Result<PathBuf, Error> {
    if named.exists() || named.components().count() != 1 {
        return Ok(named.to_owned());
    }
    let directory = Path::new(find::SYSTEMD_DIRECTORY);
    match find::newest(directory, named.as_os_str()) {
        Ok(Some(stored)) => Ok(stored.path),
        // The directory does not exist if systemd-coredump never ran.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::StoredCores {
            directory: directory.to_owned(),
            error,
        }),
        _ => {
            let name = named.to_string_lossy();
            Err(Error::NoCore(escape(&name).into_owned()))
        }
    }
}

/// Returns what the core file says about the process.
pub(super) fn head(core: &Core, inventory: &Inventory) -> CoreHead {
    let head = core.head();
    CoreHead {
        program: head.program.clone(),
        arguments: head.arguments.clone(),
        pid: head.pid,
        has_tokio: super::records::has_tokio(inventory),
        was_alive: head.signal.is_none() && head.writer == Some(Writer::Gdb),
        signal: head.signal.map(|signal| Signal {
            number: signal.number,
            code: Some(signal.code),
            address: match signal.origin {
                Origin::Fault { address } => Some(address),
                _ => None,
            },
            access: None,
            sender: match signal.origin {
                Origin::Sender { pid, uid } => Some(Sender { pid, uid }),
                _ => None,
            },
        }),
        thread: head
            .signal
            .and_then(|_| core.threads().first())
            .map(|thread| thread.tid.as_raw()),
        time: head.time.map(dump::seconds),
        host: head.host.clone(),
    }
}
