//! What the kernel says about a process: owner, processor time, memory, files, threads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use procfs::{Current, ProcResult, process::Process};

/// How long a process may take to end.
const MOMENT: Duration = Duration::from_millis(200);

/// The figures of one process for the list.
#[derive(Clone, Debug)]
pub struct Figures {
    pub pid: i32,
    pub ppid: i32,
    pub user: String,
    pub threads: u64,
    /// Processor time since the start.
    pub cpu_time: Duration,
    pub rss_bytes: u64,
    pub uptime: Duration,
    /// The arguments joined by spaces, or the name in brackets where there are none.
    pub command: String,
    /// The name of the executable, for a process that does not say its name itself.
    pub name: String,
}

/// What `rtops stats` adds to that.
#[derive(Clone, Debug)]
pub struct Details {
    /// Threads by name, with how many have it.
    pub threads: BTreeMap<String, usize>,
    /// Processors that the process may use.
    pub cpus: Option<usize>,
    /// Open file descriptors; `None` where the user may not see them.
    pub open_files: Option<usize>,
    /// The soft limit on them; `None` where it is unlimited or not visible.
    pub file_limit: Option<u64>,
}

impl Figures {
    /// The share of one processor that the process used since its start.
    pub fn cpu_share(&self) -> f64 {
        let uptime = self.uptime.as_secs_f64();
        if uptime > 0.0 {
            self.cpu_time.as_secs_f64() / uptime
        } else {
            0.0
        }
    }
}

/// Reads figures; remembers what is the same for all processes.
#[derive(Debug)]
pub struct Reader {
    /// Time since the machine booted.
    up: Duration,
    ticks_per_second: u64,
    page_size: u64,
    users: Mutex<HashMap<u32, String>>,
}

impl Reader {
    /// Takes the time; uptimes are relative to it.
    ///
    /// # Errors
    /// When `/proc/uptime` can't be read.
    pub fn new() -> ProcResult<Self> {
        let up = procfs::Uptime::current()?.uptime;
        Ok(Self {
            up: Duration::try_from_secs_f64(up).unwrap_or_default(),
            ticks_per_second: procfs::ticks_per_second().max(1),
            page_size: procfs::page_size(),
            users: Mutex::new(HashMap::new()),
        })
    }

    /// The figures of a process; `None` once it has ended.
    pub fn figures(&self, pid: i32) -> Option<Figures> {
        let process = Process::new(pid).ok()?;
        let stat = process.stat().ok()?;
        let arguments = process.cmdline().unwrap_or_default();
        let started = self.ticks(stat.starttime);
        Some(Figures {
            pid,
            ppid: stat.ppid,
            user: self.user(process.uid().ok()?),
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            cpu_time: self.ticks(stat.utime.saturating_add(stat.stime)),
            rss_bytes: stat.rss.saturating_mul(self.page_size),
            uptime: self.up.saturating_sub(started),
            command: if arguments.is_empty() {
                format!("[{}]", stat.comm)
            } else {
                arguments.join(" ")
            },
            name: executable_name(&process).unwrap_or(stat.comm),
        })
    }

    /// The name of a user, or the number of one without a name.
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

/// A process that may end, and whose id another one may get.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pid: i32,
    /// In ticks since the machine booted.
    started: u64,
}

impl Life {
    /// That of the process which has the id now.
    pub fn of(pid: i32) -> Option<Self> {
        let started = Process::new(pid).ok()?.stat().ok()?.starttime;
        Some(Self { pid, started })
    }

    /// Whether it has ended, or does so in a moment: a process that ends has neither agent nor files
    /// for a while before it is gone.
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

    /// A process that nobody has waited for yet has ended, too.
    fn has_ended(self) -> bool {
        let stat = Process::new(self.pid).and_then(|process| process.stat());
        !stat.is_ok_and(|stat| stat.starttime == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// What `rtops stats` shows beside the figures; `None` once the process has ended.
pub fn details(pid: i32) -> Option<Details> {
    let process = Process::new(pid).ok()?;
    let mut threads = BTreeMap::new();
    for thread in process.tasks().ok()?.flatten() {
        if let Ok(stat) = thread.stat() {
            *threads.entry(stat.comm).or_default() += 1;
        }
    }
    let cpus = process.status().ok()?.cpus_allowed_list.map(|ranges| {
        let width = |(first, last): (u32, u32)| last.saturating_sub(first).saturating_add(1);
        ranges.into_iter().map(width).sum::<u32>() as usize
    });
    let file_limit = process.limits().ok().map(|limits| limits.max_open_files);
    Some(Details {
        threads,
        cpus,
        open_files: process.fd_count().ok(),
        file_limit: file_limit.and_then(|limit| match limit.soft_limit {
            procfs::process::LimitValue::Value(value) => Some(value),
            procfs::process::LimitValue::Unlimited => None,
        }),
    })
}

/// The file name of the program, without the mark of a replaced one.
pub fn executable_name(process: &Process) -> Option<String> {
    let path = process.exe().ok()?;
    let name = path.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn figures_of_this_process() {
        let figures = Reader::new().unwrap().figures(own_pid()).unwrap();
        assert_eq!(figures.pid, own_pid());
        assert!(figures.threads >= 1);
        assert!(figures.rss_bytes > 100_000);
        assert!(figures.command.contains(&figures.name));
        assert!(figures.name.starts_with("rtops-"));
    }

    #[test]
    fn details_of_this_process() {
        let details = details(own_pid()).unwrap();
        assert!(details.threads.values().sum::<usize>() >= 1);
        assert!(details.cpus.unwrap() >= 1);
        assert!(details.open_files.unwrap() >= 3);
    }

    #[test]
    fn a_process_that_ended_has_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(Reader::new().unwrap().figures(pid).is_none());
        assert!(details(pid).is_none());
    }
}
