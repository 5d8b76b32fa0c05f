//! Everything the kernel reports about one process, to a user who may not see all of it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{errno::Errno, unistd::geteuid};
use procfs::{
    Current, Meminfo, ProcError, ProcResult,
    process::{Process, Status},
};
use rtops_types::Pid;
use serde::Serialize;

use super::{
    Details, Figures, Reader,
    cgroup::{self, Group},
    container::{self, Container},
    details_of,
    limits::{self, Facts, Used},
    name, open_files, proc_files,
    sockets::{self, Sockets},
};

/// A process as it is now. What is `None` is unknown; `hidden` and `unread`
/// say why, unless there is no such thing.
#[derive(Debug)]
pub struct Inspected {
    pub figures: Figures,
    pub details: Details,
    pub parent: Option<Related>,
    /// The user who started it, if it runs with another user's rights.
    pub real_user: Option<String>,
    pub state: State,
    pub started: SystemTime,
    pub memory: Memory,
    pub executable: Option<Executable>,
    pub directory: Option<PathBuf>,
    pub groups: Vec<Group>,
    pub container: Option<Container>,
    /// The kinds of namespaces in which it differs from rtops.
    pub namespaces: Option<Vec<String>>,
    /// Its id in its own PID namespace, if that is another one.
    pub inner_pid: Option<i32>,
    pub limits: Vec<Used>,
    pub oom_score: Option<u16>,
    pub oom_score_adj: Option<i16>,
    pub sockets: Option<Sockets>,
    /// What this user may not see.
    pub hidden: Vec<&'static str>,
    pub viewer_is_root: bool,
    /// What could not be read for another reason, with the reason.
    pub unread: Vec<String>,
}

/// Another process that is related to it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Related {
    pub pid: Pid,
    /// `None` if it has ended.
    pub name: Option<String>,
}

/// What the process does, or what keeps it from running.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// The letter that `ps` shows.
    pub letter: char,
    pub tracer: Option<Related>,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// Shared memory counts in part.
    #[serde(rename = "pss_bytes")]
    pub proportional: Option<u64>,
    #[serde(rename = "swapped_bytes")]
    pub swapped: Option<u64>,
    /// The most that was ever resident.
    #[serde(rename = "peak_rss_bytes")]
    pub peak: Option<u64>,
    /// The memory of the machine.
    #[serde(rename = "memory_of_machine_bytes")]
    pub of_machine: Option<u64>,
}

/// The program that a process runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Executable {
    pub path: PathBuf,
    pub file: File,
}

/// What became of the file that a program was started from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum File {
    Same,
    /// Another file has its name now.
    Replaced,
    Deleted,
    /// It never had a name.
    #[serde(rename = "in memory")]
    InMemory,
}

impl State {
    /// Whether something keeps it from running.
    pub const fn is_notable(&self) -> bool {
        self.tracer.is_some() || matches!(self.letter, 'D' | 'T' | 't' | 'Z' | 'X' | 'x')
    }
}

impl Related {
    fn of(pid: Pid) -> Option<Self> {
        (pid.as_raw() > 0).then(|| Self {
            pid,
            name: proc_files::process(pid)
                .ok()
                .and_then(|process| name(&process)),
        })
    }
}

/// What can't be read, sorted by the reason.
#[derive(Default)]
struct Unseen {
    hidden: Vec<&'static str>,
    unread: Vec<String>,
}

impl Unseen {
    fn note<T>(&mut self, what: &'static str, read: ProcResult<T>) -> Option<T> {
        match read {
            Ok(value) => return Some(value),
            Err(ProcError::PermissionDenied(_)) => self.hidden.push(what),
            // The kernel has no such file, or none for this kind of process.
            Err(ProcError::NotFound(_)) => {}
            Err(ProcError::Io(error, _)) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            Err(error) => self.unread.push(format!("{what}: {error}")),
        }
        None
    }
}

/// Reads everything about a process; returns `None` once it has ended.
///
/// # Errors
/// If `/proc` can't be read.
pub fn inspect(process: &Process) -> ProcResult<Option<Inspected>> {
    let reader = Reader::new()?;
    let now = SystemTime::now();
    let seen = (reader.figures_of(process), details_of(process));
    let (Some(figures), Some(details)) = seen else {
        return Ok(None);
    };
    let (Ok(status), Ok(stat)) = (proc_files::status(process), process.stat()) else {
        return Ok(None);
    };
    let own = Process::myself()?;
    let mut unseen = Unseen::default();
    let groups = unseen
        .note("cgroup", cgroup::groups(process))
        .unwrap_or_default();
    let inside = proc_files::mounts(process);
    let mounts = proc_files::mounts(&own).unwrap_or_default();
    let limits = unseen.note("limits", process.limits());
    let limits = limits.map_or_else(Vec::new, |limits| {
        limits::used(&Facts {
            status: &status,
            stat: &stat,
            limits: &limits,
            open_files: details.open_files,
            groups: &groups,
            mounts: &mounts,
            ticks_per_second: procfs::ticks_per_second(),
        })
    });
    if details.open_files.is_none() {
        unseen.note("open files", open_files(process));
    }
    let executable = unseen.note("executable", executable(process));
    let directory = unseen.note("working directory", process.cwd());
    let namespaces = unseen.note("namespaces", namespaces_of(process));
    let memory = memory(&status, unseen.note("PSS", proportional(process)).flatten());
    let sockets = unseen.note("sockets", sockets::of(process));
    let oom_score = unseen.note("OOM score", process.oom_score());
    Ok(Some(Inspected {
        parent: Related::of(figures.ppid),
        real_user: (status.ruid != status.euid).then(|| reader.user(status.ruid)),
        state: State {
            letter: stat.state,
            tracer: Related::of(Pid::new(status.tracerpid)),
        },
        started: now.checked_sub(figures.uptime).unwrap_or(now),
        memory,
        executable,
        directory,
        container: container::of(&groups, &inside.unwrap_or_default()),
        groups,
        inner_pid: inner_pid(&status).filter(|inner| *inner != process.pid()),
        namespaces: namespaces.zip(namespaces_of(&own).ok()).map(differing),
        limits,
        oom_score,
        oom_score_adj: process.oom_score_adj().ok(),
        sockets,
        hidden: unseen.hidden,
        viewer_is_root: geteuid().is_root(),
        unread: unseen.unread,
        // root owns the directory in /proc of a process that can't be dumped.
        figures: Figures {
            user: reader.user(status.euid),
            ..figures
        },
        details,
    }))
}

fn inner_pid(status: &Status) -> Option<i32> {
    status.nspid.as_ref()?.last().copied()
}

fn memory(status: &Status, proportional: Option<u64>) -> Memory {
    let bytes = |kilobytes: Option<u64>| kilobytes.map(|size| size.saturating_mul(1024));
    Memory {
        proportional,
        swapped: bytes(status.vmswap),
        peak: bytes(status.vmhwm),
        of_machine: Meminfo::current().ok().map(|memory| memory.mem_total),
    }
}

/// Returns `None` for a process without memory of its own.
fn proportional(process: &Process) -> ProcResult<Option<u64>> {
    let rollup = process.smaps_rollup()?;
    let mappings = rollup.memory_map_rollup.0;
    Ok(mappings
        .first()
        .and_then(|all| all.extension.map.get("Pss").copied()))
}

fn executable(process: &Process) -> ProcResult<Executable> {
    const DELETED: &str = " (deleted)";
    let link = process.exe()?;
    let same = |path| Executable {
        path,
        file: File::Same,
    };
    let Some(path) = link.to_str().and_then(|path| path.strip_suffix(DELETED)) else {
        return Ok(same(link));
    };
    if path.starts_with("/memfd:") {
        return Ok(Executable {
            path: path.into(),
            file: File::InMemory,
        });
    }
    // The files as the process sees them.
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let identity = |path: PathBuf| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let running = identity(format!("/proc/{}/exe", process.pid()).into());
    // `link` may be the real name of a file.
    if running.is_some() && identity(inside(&link)) == running {
        return Ok(same(link));
    }
    let file = if inside(Path::new(path)).symlink_metadata().is_ok() {
        File::Replaced
    } else {
        File::Deleted
    };
    Ok(Executable {
        path: path.into(),
        file,
    })
}

type Namespaces = BTreeMap<String, PathBuf>;

/// Returns the links to the process's namespaces by kind. `Process::namespaces` does not tell a
/// link that the user may not follow from other failures.
fn namespaces_of(process: &Process) -> ProcResult<Namespaces> {
    let directory = format!("/proc/{}/ns", process.pid());
    let mut namespaces = Namespaces::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_name().to_string_lossy().into_owned();
        // Namespaces of future children are not those of the process.
        if !kind.ends_with("_for_children") {
            namespaces.insert(kind, fs::read_link(entry.path())?);
        }
    }
    Ok(namespaces)
}

fn differing((theirs, ours): (Namespaces, Namespaces)) -> Vec<String> {
    let differs = |(kind, link): &(String, PathBuf)| ours.get(kind).is_some_and(|own| own != link);
    theirs
        .into_iter()
        .filter(differs)
        .map(|(kind, _)| kind)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_whole() {
        let process = Process::myself().unwrap();
        let seen = inspect(&process).unwrap().unwrap();
        assert_eq!(seen.hidden, Vec::<&str>::new());
        assert_eq!(seen.unread, Vec::<String>::new());
        assert_eq!(seen.directory, std::env::current_dir().ok());
        assert_eq!(seen.namespaces, Some(Vec::new()));
        assert_eq!(seen.executable.unwrap().file, File::Same);
        assert!(seen.memory.proportional.unwrap() > 100_000);
        assert!(seen.memory.of_machine.unwrap() > seen.figures.rss_bytes);
        assert!(seen.started < SystemTime::now());
        assert!(seen.sockets.is_some() && seen.parent.is_some());
    }
}
