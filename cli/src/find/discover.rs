//! Where agents' sockets are: in the directories of this mount namespace and,
//! under `/proc/PID/root`, of every other one that the user may enter; and
//! wherever else a process listens on one.
//!
//! What is found here is a hint. Only a connection shows who listens: see [`super::client`].

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;
use procfs::{
    ProcResult,
    process::{FDTarget, Process, all_processes},
};
use rtops_protocol::{SocketFile, directory_name};
use rtops_types::Pid;

use crate::proc::{
    proc_files,
    sockets::{Address, LISTEN},
    unix_sockets,
};

/// The most files to look at in one directory: anybody can fill their own.
const MAX_FILES: usize = 4096;
/// The most descriptors of one process to look at.
const MAX_DESCRIPTORS: usize = 1 << 20;

/// A socket that may be an agent's.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub path: PathBuf,
    /// The owner of the socket file.
    pub owner: u32,
    /// The process that the file's name refers to, if it exists.
    pub hint: Option<Pid>,
    file: SocketFile,
    identity: (u64, u64),
}

/// What a process sees as its file system; processes with equal views see the same sockets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct View {
    mount_namespace: PathBuf,
    root: PathBuf,
}

impl View {
    /// Returns `None` if the user may not know.
    fn of(process: &Process) -> Option<Self> {
        // `Process::namespaces` would read ten more links, for each process of the machine.
        let link = format!("/proc/{}/ns/mnt", process.pid());
        Some(Self {
            mount_namespace: fs::read_link(link).ok()?,
            root: process.root().ok()?,
        })
    }
}

/// Finds the sockets of all processes whose file system the user may see.
///
/// # Errors
/// If `/proc` can't be read.
pub fn everywhere() -> ProcResult<Vec<Candidate>> {
    let myself = Process::myself()?;
    let own = View::of(&myself);
    let mut candidates = sockets(Path::new("/"));
    for candidate in &mut candidates {
        candidate.hint = process_named_by(candidate.file);
    }
    if chosen_directory().is_none() {
        candidates.extend(elsewhere(&myself));
    }
    let mut others: HashMap<View, Vec<Process>> = HashMap::new();
    for process in all_processes()?.flatten() {
        if let Some(view) = View::of(&process)
            && own.as_ref() != Some(&view)
        {
            others.entry(view).or_default().push(process);
        }
    }
    let network = network_of(&myself);
    for processes in others.values() {
        candidates.extend(sockets_inside(processes, network.as_ref()));
    }
    let mut seen = HashSet::new();
    candidates.retain(|candidate| seen.insert(candidate.identity));
    Ok(candidates)
}

/// Finds the sockets that may be those of one process. Those of other users are left out: one
/// that never accepts could use up the time.
pub fn of_process(process: &Process) -> Vec<Candidate> {
    let inner = inner_pid(process);
    let owner = proc_files::status(process).ok().map(|status| status.euid);
    let root = root_of(Pid::new(process.pid()));
    let mut candidates = sockets(Path::new("/"));
    candidates.extend(sockets(&root));
    candidates.retain(|candidate| {
        let named = i32::try_from(candidate.file.pid).ok() == Some(inner);
        named && (candidate.owner == 0 || Some(candidate.owner) == owner)
    });
    if candidates.is_empty() {
        candidates = sockets_of(process, inner);
    }
    for candidate in &mut candidates {
        candidate.hint = Some(Pid::new(process.pid()));
    }
    candidates
}

/// Finds the sockets that the process itself listens on and that are named as its agent's, wherever
/// they are: only its own environment says where it puts them.
fn sockets_of(process: &Process, inner: i32) -> Vec<Candidate> {
    let named: HashMap<u64, PathBuf> = agents_in(process)
        .filter(|listening| i32::try_from(listening.file.pid).ok() == Some(inner))
        .map(|listening| (listening.inode, listening.path))
        .collect();
    if named.is_empty() {
        return Vec::new();
    }
    let files = process
        .fd()
        .into_iter()
        .flatten()
        .take(MAX_DESCRIPTORS)
        .flatten();
    let own = files.filter_map(|file| match file.target {
        FDTarget::Socket(inode) => named.get(&inode),
        _ => None,
    });
    let root = root_of(Pid::new(process.pid()));
    let paths: HashSet<PathBuf> = own
        .filter_map(|path| Some(root.join(path.strip_prefix("/").ok()?)))
        .collect();
    paths.into_iter().filter_map(candidate).collect()
}

/// A socket that a process listens on, with the name of an agent's.
#[derive(Debug)]
pub struct Listening {
    file: SocketFile,
    inode: u64,
    path: PathBuf,
}

/// Returns the agents' sockets in the network namespace of a process.
fn agents_in(process: &Process) -> impl Iterator<Item = Listening> {
    let sockets = unix_sockets::of(process).unwrap_or_default().into_iter();
    sockets
        .filter(|(_, socket)| socket.state == LISTEN)
        .filter_map(|(inode, socket)| match socket.local {
            Some(Address::Path(path)) => {
                let path = PathBuf::from(path);
                let file = SocketFile::parse(path.file_name()?.to_str()?)?;
                Some(Listening { file, inode, path })
            }
            _ => None,
        })
}

/// Returns the running processes that have an agent, by the names of sockets in this network and
/// PID namespace. Everybody may see these names, and everybody may give a socket such a name.
///
/// # Errors
/// If `/proc` can't be read.
pub fn named_by_sockets() -> ProcResult<HashSet<Pid>> {
    let own = Process::myself()?;
    Ok(agents_in(&own)
        .filter_map(|listening| process_named_by(listening.file))
        .collect())
}

/// Finds the sockets in any directory of processes in this network and PID namespace.
fn elsewhere(myself: &Process) -> impl Iterator<Item = Candidate> {
    agents_in(myself).filter_map(|listening| {
        let pid = process_named_by(listening.file)?;
        let path = listening.path.strip_prefix("/").ok()?;
        Some(Candidate {
            hint: Some(pid),
            ..candidate(root_of(pid).join(path))?
        })
    })
}

/// Returns the process that a socket of this mount namespace is named after, if it still runs.
fn process_named_by(file: SocketFile) -> Option<Pid> {
    let pid = Pid::try_from(file.pid).ok()?;
    let stat = proc_files::process(pid).ok()?.stat().ok()?;
    (stat.starttime == file.start_time).then_some(pid)
}

/// Returns the network namespace of a process; `None` if the user may not know.
fn network_of(process: &Process) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/ns/net", process.pid())).ok()
}

/// Finds the sockets in the one file system that all `processes` see; if they are in another
/// network than `network`, in all its directories.
fn sockets_inside(processes: &[Process], network: Option<&PathBuf>) -> Vec<Candidate> {
    // Any of the processes leads there; the first may have ended.
    let mut found = processes
        .iter()
        .map(|process| sockets(&root_of(Pid::new(process.pid()))))
        .find(|sockets| !sockets.is_empty())
        .unwrap_or_default();
    if let Some(first) = processes.first()
        && chosen_directory().is_none()
        && network_of(first).as_ref() != network
    {
        let root = root_of(Pid::new(first.pid()));
        let paths = agents_in(first).map(|listening| listening.path);
        found.extend(paths.filter_map(|path| candidate(root.join(path.strip_prefix("/").ok()?))));
    }
    if !found.is_empty() {
        let pids: HashMap<i32, Pid> = processes
            .iter()
            .map(|process| (inner_pid(process), Pid::new(process.pid())))
            .collect();
        for candidate in &mut found {
            let inner = i32::try_from(candidate.file.pid).ok();
            candidate.hint = inner.and_then(|inner| pids.get(&inner).copied());
        }
    }
    found
}

fn root_of(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}

/// Returns the id of a process in its own PID namespace.
fn inner_pid(process: &Process) -> i32 {
    let inner = proc_files::status(process)
        .ok()
        .and_then(|status| status.nspid);
    inner
        .and_then(|pids| pids.last().copied())
        .unwrap_or(process.pid())
}

/// Finds all sockets below `root` that are named as an agent's.
fn sockets(root: &Path) -> Vec<Candidate> {
    directories(root)
        .iter()
        .filter(|directory| is_real_directory(directory))
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.take(MAX_FILES).flatten())
        .filter_map(|entry| candidate(entry.path()))
        .collect()
}

/// Returns the socket at this path, if it is named as an agent's.
fn candidate(path: PathBuf) -> Option<Candidate> {
    let file = SocketFile::parse(path.file_name()?.to_str()?)?;
    let metadata = path.symlink_metadata().ok()?;
    metadata.file_type().is_socket().then(|| Candidate {
        owner: metadata.uid(),
        hint: None,
        file,
        identity: (metadata.dev(), metadata.ino()),
        path,
    })
}

/// Returns `$RTOPS_DIR` if it is set, else the default directory of every user.
fn directories(root: &Path) -> Vec<PathBuf> {
    if let Some(chosen) = chosen_directory() {
        return vec![root.join(chosen.strip_prefix("/").unwrap_or(&chosen))];
    }
    let parent = root.join("tmp");
    // A link made by this machine's own administrator is fine.
    if root != Path::new("/") && !is_real_directory(&parent) {
        return Vec::new();
    }
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_default_name))
        .map(|entry| entry.path())
        .collect()
}

fn chosen_directory() -> Option<PathBuf> {
    let chosen = env::var_os("RTOPS_DIR").filter(|chosen| !chosen.is_empty())?;
    Some(PathBuf::from(chosen))
}

fn is_default_name(name: &str) -> bool {
    let user = name
        .rsplit_once('-')
        .and_then(|(_, user)| user.parse().ok());
    user.is_some_and(|user| directory_name(Uid::from_raw(user)) == name)
}

/// Whether a path is a directory and no link: one made inside a container would lead out of it.
fn is_real_directory(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let sockets = sockets(root);
        let names = sockets.iter().filter_map(|socket| socket.path.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn only_sockets_in_real_directories_count() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("tmp/rtops-1000");
        fs::create_dir_all(&directory).unwrap();
        drop(UnixListener::bind(directory.join("12-34.sock")).unwrap());
        drop(UnixListener::bind(directory.join("other.sock")).unwrap());
        fs::write(directory.join("1-2.sock"), "no socket").unwrap();
        symlink(directory.join("12-34.sock"), directory.join("5-6.sock")).unwrap();
        symlink(&directory, root.path().join("tmp/rtops-1001")).unwrap();
        fs::create_dir(root.path().join("tmp/rtops-name")).unwrap();
        drop(UnixListener::bind(root.path().join("tmp/rtops-name/7-8.sock")).unwrap());
        assert_eq!(names(root.path()), ["12-34.sock"]);
    }

    #[test]
    fn a_link_in_place_of_tmp_is_not_followed() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directory = other.path().join("rtops-0");
        fs::create_dir(&directory).unwrap();
        drop(UnixListener::bind(directory.join("12-34.sock")).unwrap());
        symlink(other.path(), root.path().join("tmp")).unwrap();
        assert!(names(root.path()).is_empty());
    }
}
