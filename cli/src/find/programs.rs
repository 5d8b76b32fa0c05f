//! Which processes run a Rust program. Each program is read once, however many processes run it, so
//! asking for every process of the machine is cheap. A separate process reads the programs.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use rtops_binary::{Built, ReadError, child::Reader};
use rtops_files::{NamedBy, Refusal, Regular};
use rtops_types::Pid;

use crate::{
    error::Error,
    proc::proc_files::{self, CommandLine},
};

/// How long reading the programs of a machine may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs that were read.
#[derive(Debug)]
pub struct Programs {
    known: HashMap<Identity, Option<Built>>,
    reader: Reader,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            reader: Reader::new(None, PATIENCE),
        }
    }
}

/// A file in its current state: once it is deleted, another file gets its number.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// What a process runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Program {
    /// A Rust program.
    Rust(Built),
    /// Another program, or none at all, as with the kernel's own processes.
    Other,
    /// The user may not see it.
    Hidden,
}

impl Programs {
    /// Begins a look at all programs.
    pub fn begin(&mut self) {
        self.reader.renew();
    }

    /// Checks that every readable program was read.
    ///
    /// # Errors
    /// If the process that reads them failed on one, or ran out of time.
    pub fn checked(&self) -> Result<(), Error> {
        match self.reader.failure() {
            Some(failure) => Err(Error::Partial(vec![failure.to_owned()])),
            None => Ok(()),
        }
    }

    /// Returns what a process runs.
    pub fn of(&mut self, pid: Pid) -> Program {
        // The process that reads programs is part of this command.
        let reader = self.reader.process_id();
        if reader.is_some_and(|reader| Pid::try_from(reader) == Ok(pid)) {
            return Program::Other;
        }
        let program = match find(pid) {
            Ok(program) => program,
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                return hidden(pid);
            }
            Err(_) => return Program::Other,
        };
        let metadata = program.metadata();
        let identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let Self { known, reader } = self;
        let look = || reader.built(&program.open().ok()?);
        match known.entry(identity).or_insert_with(look) {
            Some(built) => Program::Rust(built.clone()),
            None => Program::Other,
        }
    }
}

/// The kernel's own processes have no arguments, and no program to hide.
fn hidden(pid: Pid) -> Program {
    let command_line = proc_files::process(pid).and_then(|process| CommandLine::of(&process));
    match command_line {
        Ok(CommandLine { arguments, is_cut }) if is_cut || !arguments.is_empty() => Program::Hidden,
        _ => Program::Other,
    }
}

/// Opens the program that a process runs, even if its path is another file's by now, or no one's.
///
/// # Errors
/// If the process has ended, is one of the kernel's, or the user may not open it; also if reading
/// from where the program is could block forever.
pub fn open(pid: Pid) -> Result<File, ReadError> {
    let program = find(pid).map_err(|refusal| match refusal {
        Refusal::Io(error) => error,
        other => io::Error::other(other.to_string()),
    });
    Ok(program?.open()?)
}

fn find(pid: Pid) -> Result<Regular, Refusal> {
    Regular::at(Path::new(&executable(pid)), NamedBy::Target)
}

/// Returns the path of the program, in the process's own file system.
pub fn path(pid: Pid) -> Option<String> {
    let path = fs::read_link(executable(pid)).ok()?;
    Some(path.to_string_lossy().into_owned())
}

fn executable(pid: Pid) -> String {
    format!("/proc/{pid}/exe")
}

/// Returns the PIDs of all processes but this one, in ascending order.
///
/// # Errors
/// If `/proc` can't be read.
pub fn others() -> io::Result<Vec<Pid>> {
    let own = Pid::own();
    let entries = fs::read_dir("/proc")?.flatten();
    let mut pids: Vec<Pid> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_none_of_the_others() {
        let own = Pid::own();
        let others = others().unwrap();
        assert!(!others.contains(&own) && others.is_sorted());
    }
}
