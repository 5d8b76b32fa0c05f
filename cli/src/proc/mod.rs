//! What the kernel reports about a process: owner, processor time, memory, files,
//! threads; and, in [`inspect`], everything else.

pub mod allocators;
pub mod cgroup;
pub mod container;
pub mod forest;
pub mod inspect;
pub mod limits;
pub mod memory;
pub mod proc_files;
pub mod sockets;
pub mod unix_sockets;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use procfs::{Current, ProcResult, process::Process};
use rtops_image::Tid;
use rtops_types::Pid;
use serde::{Serialize, Serializer};

use proc_files::CommandLine;

/// The most bytes of a name that the kernel keeps.
const MAX_COMM: usize = 15;
/// How long a process may take to end.
const MOMENT: Duration = Duration::from_millis(200);

/// The figures of one process for the list.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub pid: Pid,
    pub ppid: Pid,
    pub user: String,
    pub threads: u64,
    /// Processor time since the start.
    #[serde(rename = "cpu_seconds", serialize_with = "serialize_seconds")]
    pub cpu_time: Duration,
    pub rss_bytes: u64,
    #[serde(rename = "uptime_seconds", serialize_with = "serialize_seconds")]
    pub uptime: Duration,
    /// The arguments joined by spaces, or the name in brackets if there are none;
    /// `…` stands for anything beyond 64 KiB.
    pub command: String,
    /// The name of the executable, for a process that does not state its own.
    #[serde(skip)]
    pub name: String,
}

/// What `rtops stats` shows besides the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    /// The number of threads by name.
    #[serde(rename = "threads_by_name")]
    pub threads: BTreeMap<String, usize>,
    /// Processors that the process may use.
    pub cpus: Option<usize>,
    /// Open file descriptors; `None` if the user may not see them.
    pub open_files: Option<usize>,
    /// The soft limit on open files; `None` if it is unlimited or not visible.
    pub file_limit: Option<u64>,
}

fn serialize_seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

impl Figures {
    /// Returns the share of one processor that the process used since its start.
    pub fn cpu_share(&self) -> f64 {
        let uptime = self.uptime.as_secs_f64();
        if uptime > 0.0 {
            self.cpu_time.as_secs_f64() / uptime
        } else {
            0.0
        }
    }

    /// Returns the share of one processor that the process used since an earlier look at it.
    pub fn cpu_share_since(&self, earlier: &Self) -> f64 {
        let elapsed = self.uptime.saturating_sub(earlier.uptime).as_secs_f64();
        if elapsed > 0.0 {
            self.cpu_time.saturating_sub(earlier.cpu_time).as_secs_f64() / elapsed
        } else {
            0.0
        }
    }
}

/// Reads figures, and remembers what is the same for all processes.
#[derive(Debug)]
pub struct Reader {
    /// Time since the machine booted.
    up: Duration,
    ticks_per_second: u64,
    page_size: u64,
    users: Mutex<HashMap<u32, String>>,
}

impl Reader {
    /// Reads the uptime of the machine, which the uptimes of processes are relative to.
    ///
    /// # Errors
    /// If `/proc/uptime` can't be read.
    pub fn new() -> ProcResult<Self> {
        let up = procfs::Uptime::current()?.uptime;
        Ok(Self {
            up: Duration::try_from_secs_f64(up).unwrap_or_default(),
            ticks_per_second: procfs::ticks_per_second().max(1),
            page_size: procfs::page_size(),
            users: Mutex::new(HashMap::new()),
        })
    }

    /// Returns the figures of a process; `None` once it has ended.
    pub fn figures(&self, pid: Pid) -> Option<Figures> {
        self.figures_of(&proc_files::process(pid).ok()?)
    }

    /// Returns the figures of an opened process, even if its id belongs to another one by now.
    pub fn figures_of(&self, process: &Process) -> Option<Figures> {
        let stat = process.stat().ok()?;
        let command_line = CommandLine::of(process).unwrap_or_default();
        let started = self.ticks(stat.starttime);
        Some(Figures {
            pid: Pid::new(process.pid()),
            ppid: Pid::new(stat.ppid),
            user: self.user(process.uid().ok()?),
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            cpu_time: self.ticks(stat.utime.saturating_add(stat.stime)),
            rss_bytes: stat.rss.saturating_mul(self.page_size),
            uptime: self.up.saturating_sub(started),
            command: command_line.text(&stat.comm),
            name: name(process).unwrap_or(stat.comm),
        })
    }

    /// Returns the name of a user, or the number of one without a name.
    pub fn user(&self, uid: u32) -> String {
        let lookup = || {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map_or_else(|| uid.to_string(), |user| user.name)
        };
        match self.users.lock() {
            Ok(mut users) => users.entry(uid).or_insert_with(lookup).clone(),
            Err(_) => lookup(),
        }
    }

    fn ticks(&self, ticks: u64) -> Duration {
        let whole = ticks / self.ticks_per_second;
        let rest = ticks % self.ticks_per_second * 1000 / self.ticks_per_second;
        Duration::from_secs(whole).saturating_add(Duration::from_millis(rest))
    }
}

/// A process that may end, and whose id may be reused.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pid: Pid,
    /// The start time in ticks since the machine booted.
    started: u64,
}

impl Life {
    /// Identifies the process that has this id now.
    pub fn of(pid: Pid) -> Option<Self> {
        let started = proc_files::process(pid).ok()?.stat().ok()?.starttime;
        Some(Self { pid, started })
    }

    /// Whether it has ended, or does so in a moment: a process that ends has neither agent
    /// nor files for a while before it is gone.
    pub fn ends(self) -> bool {
        let moment = Instant::now() + MOMENT;
        while !self.has_ended() {
            if Instant::now() > moment {
                return false;
            }
            thread::sleep(MOMENT / 10);
        }
        true
    }

    /// Whether it has ended, which includes zombies.
    fn has_ended(self) -> bool {
        let stat = proc_files::process(self.pid).and_then(|process| process.stat());
        !stat.is_ok_and(|stat| stat.starttime == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// Returns what `rtops stats` shows besides the figures; `None` once the process has ended.
pub fn details(pid: Pid) -> Option<Details> {
    details_of(&proc_files::process(pid).ok()?)
}

fn details_of(process: &Process) -> Option<Details> {
    let mut threads = BTreeMap::new();
    let mut seen = 0;
    for thread in proc_files::threads(process).ok()? {
        if let Ok(stat) = thread.stat() {
            *threads.entry(stat.comm).or_default() += 1;
            seen += 1;
        }
    }
    let status = proc_files::status(process).ok()?;
    // The threads that were not looked at. Some may have ended or begun meanwhile.
    if seen >= proc_files::MAX_THREADS {
        let all = usize::try_from(status.threads).unwrap_or(usize::MAX);
        threads.insert("…".to_owned(), all.saturating_sub(seen));
    }
    let cpus = status.cpus_allowed_list.map(|ranges| {
        let width = |(first, last): (u32, u32)| last.saturating_sub(first).saturating_add(1);
        ranges.into_iter().map(width).sum::<u32>() as usize
    });
    let file_limit = process.limits().ok().map(|limits| limits.max_open_files);
    Some(Details {
        threads,
        cpus,
        open_files: open_files(process).ok(),
        file_limit: file_limit.and_then(|limit| match limit.soft_limit {
            procfs::process::LimitValue::Value(value) => Some(value),
            procfs::process::LimitValue::Unlimited => None,
        }),
    })
}

/// Returns the number of open files. `Process::fd_count` counts two too many if the kernel does not
/// report it as the size of the directory, which it does since 6.2 unless there are none.
fn open_files(process: &Process) -> ProcResult<usize> {
    let directory = format!("/proc/{}/fd", process.pid());
    let told = fs::metadata(&directory)?.len();
    if told > 0 {
        return Ok(usize::try_from(told).unwrap_or(usize::MAX));
    }
    Ok(fs::read_dir(directory)?.count())
}

/// Returns the names of the threads by id.
pub fn thread_names(process: &Process) -> HashMap<Tid, String> {
    let threads = proc_files::threads(process).into_iter().flatten();
    let names = threads.filter_map(|thread| Some((Tid::new(thread.tid), thread.stat().ok()?.comm)));
    names.collect()
}

/// Returns the ids of threads in the process's own namespace, for those where it differs.
pub fn inner_tids(process: &Process) -> HashMap<Tid, i32> {
    let threads = proc_files::threads(process).into_iter().flatten();
    let numbers = threads.filter_map(|thread| {
        let inner = *proc_files::thread_status(process, thread.tid)
            .ok()?
            .nspid?
            .last()?;
        (inner != thread.tid).then_some((Tid::new(thread.tid), inner))
    });
    numbers.collect()
}

/// Returns the name of a process that does not state its own; `None` once it has ended.
pub fn name(process: &Process) -> Option<String> {
    executable_name(process).or_else(|| {
        let stat = process.stat().ok()?;
        // It has ended, and nobody has waited for it yet.
        let comm = (!matches!(stat.state, 'Z' | 'X')).then_some(stat.comm)?;
        // The kernel keeps 15 bytes of a name, but shows the whole command line to everybody.
        let program = CommandLine::of(process).unwrap_or_default();
        let program = program.arguments.into_iter().next();
        let program = program.as_deref().and_then(|path| path.rsplit('/').next());
        let whole = program.filter(|program| comm.len() == MAX_COMM && program.starts_with(&comm));
        Some(whole.unwrap_or(&comm).to_owned())
    })
}

/// Returns the file name of the program, without the mark of a deleted one.
fn executable_name(process: &Process) -> Option<String> {
    let path = process.exe().ok()?;
    let name = path.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_this_process() {
        let figures = Reader::new().unwrap().figures(Pid::own()).unwrap();
        assert_eq!(figures.pid, Pid::own());
        assert!(figures.threads >= 1);
        assert!(figures.rss_bytes > 100_000);
        assert!(figures.command.contains(&figures.name));
        assert!(figures.name.starts_with("rtops-"));
    }

    #[test]
    fn details_of_this_process() {
        let details = details(Pid::own()).unwrap();
        assert!(details.threads.values().sum::<usize>() >= 1);
        assert!(details.cpus.unwrap() >= 1);
        assert!(details.open_files.unwrap() >= 3);
    }

    #[test]
    fn a_process_that_ended_has_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(Reader::new().unwrap().figures(pid).is_none());
        assert!(details(pid).is_none());
    }
}
