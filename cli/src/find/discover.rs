//! Where agents' sockets lie: in the directories of this mount namespace and, below
//! `/proc/PID/root`, in those of every other one that the user may enter; and wherever the sockets are on
//! which the processes listen.
//!
//! What is found here is a hint. Only a connection tells who listens: see [`super::client`].

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

/// The most files that are looked at in one directory: anybody can fill a directory of theirs.
const MAX_FILES: usize = 4096;
/// The most descriptors of one process that are looked at.
const MAX_DESCRIPTORS: usize = 1 << 20;

/// A socket that may be an agent's.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub path: PathBuf,
    /// The owner of the socket file.
    pub owner: u32,
    /// The process that the file's name means, if there is such a process.
    pub hint: Option<Pid>,
    file: SocketFile,
    identity: (u64, u64),
}

/// What a process sees as its file system; two processes with equal views see the same sockets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct View {
    mount_namespace: PathBuf,
    root: PathBuf,
}

impl View {
    /// `None` where the user may not know.
    fn of(process: &Process) -> Option<Self> {
        // `Process::namespaces` would look at ten more links, for each process of the machine.
        let link = format!("/proc/{}/ns/mnt", process.pid());
        Some(Self {
            mount_namespace: fs::read_link(link).ok()?,
            root: process.root().ok()?,
        })
    }
}

/// The sockets of all processes whose file system the user may see.
///
/// # Errors
/// When `/proc` can't be read.
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

/// The sockets that may be those of one process. Those of other users are left out: one that
/// never accepts could use up the time.
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

/// The sockets on which the process itself listens and that are named as its agent's, wherever they lie:
/// where it was told to put them is for its own environment to say.
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

/// A socket that a process listens on, by its name one of an agent.
#[derive(Debug)]
pub struct Listening {
    file: SocketFile,
    inode: u64,
    path: PathBuf,
}

/// Those of the network namespace that a process is in.
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

/// The processes that run and by the names of sockets have an agent, as far as this network and PID
/// namespace go. Everybody may see these names, and everybody may give a socket such a name.
///
/// # Errors
/// When `/proc` can't be read.
pub fn named_by_sockets() -> ProcResult<HashSet<Pid>> {
    let own = Process::myself()?;
    Ok(agents_in(&own)
        .filter_map(|listening| process_named_by(listening.file))
        .collect())
}

/// The sockets in whatever directories, of processes that run in this network and PID namespace.
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

/// The process that a socket of this mount namespace is named after, if it still runs.
fn process_named_by(file: SocketFile) -> Option<Pid> {
    let pid = Pid::try_from(file.pid).ok()?;
    let stat = proc_files::process(pid).ok()?.stat().ok()?;
    (stat.starttime == file.start_time).then_some(pid)
}

/// The network namespace of a process; `None` where the user may not know.
fn network_of(process: &Process) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/ns/net", process.pid())).ok()
}

/// The sockets in the one file system that all `processes` see; of a network other than this one, in all its
/// directories.
fn sockets_inside(processes: &[Process], network: Option<&PathBuf>) -> Vec<Candidate> {
    // Any of them leads there; the first may have ended.
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

/// The id that a process has in its own PID namespace.
fn inner_pid(process: &Process) -> i32 {
    let inner = proc_files::status(process)
        .ok()
        .and_then(|status| status.nspid);
    inner
        .and_then(|pids| pids.last().copied())
        .unwrap_or(process.pid())
}

/// All sockets below `root` that are named as an agent's.
fn sockets(root: &Path) -> Vec<Candidate> {
    directories(root)
        .iter()
        .filter(|directory| is_real_directory(directory))
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.take(MAX_FILES).flatten())
        .filter_map(|entry| candidate(entry.path()))
        .collect()
}

/// The socket of this path, if it is named as an agent's.
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

/// `$RTOPS_DIR` if it is set, else the default directory of every user.
fn directories(root: &Path) -> Vec<PathBuf> {
    if let Some(chosen) = chosen_directory() {
        return vec![root.join(chosen.strip_prefix("/").unwrap_or(&chosen))];
    }
    let parent = root.join("tmp");
    // The link of this machine's own administrator is another thing.
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

/// A link made by somebody inside a container would lead to a place outside of it.
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
