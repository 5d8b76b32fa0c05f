//! Limits of memory and processor time for processes that tests start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use crate::support::DEADLINE;

/// The mount point of cgroups.
const MOUNTS: &str = "/sys/fs/cgroup";

/// A cgroup with a memory limit. It is removed on drop.
pub struct Cgroup {
    directory: Directory,
    limit: &'static str,
    events: &'static str,
}

impl Cgroup {
    /// Makes a cgroup of version 1 or 2, whichever controls memory here.
    pub fn make(name: &str) -> Option<Self> {
        let versions = [
            ("memory", "memory.limit_in_bytes", "memory.oom_control"),
            ("", "memory.max", "memory.events"),
        ];
        versions.into_iter().find_map(|(mount, limit, events)| {
            let directory = Directory::make(mount, name)?;
            directory.has(limit).then_some(Self {
                directory,
                limit,
                events,
            })
        })
    }

    pub fn adopt(&self, pid: i32) {
        self.directory.write("cgroup.procs", &pid.to_string());
    }

    pub fn limit(&self, bytes: u64) {
        self.directory.write(self.limit, &bytes.to_string());
    }

    /// Returns a command that runs a program in the cgroup from the start.
    pub fn command(&self, program: &Path) -> Command {
        command_in(&[&self.directory], program)
    }

    /// Returns how many of its processes were killed because memory was short.
    pub fn oom_kills(&self) -> u64 {
        self.directory.number(self.events, "oom_kill")
    }
}

/// A cgroup with a limit of processor time. It is removed on drop.
pub struct CpuGroup {
    limited: Directory,
    /// The cgroup that counts the time, in version 1.
    counted: Option<Directory>,
}

impl CpuGroup {
    pub fn make(name: &str) -> Option<Self> {
        let first = Directory::make("cpu", name).filter(|group| group.has("cpu.cfs_quota_us"));
        let Some(limited) = first else {
            let limited = Directory::make("", name)?;
            return limited.has("cpu.max").then_some(Self {
                limited,
                counted: None,
            });
        };
        let counted = Directory::make("cpuacct", name)?;
        Some(Self {
            limited,
            counted: Some(counted),
        })
    }

    /// Limits the time in each tenth of a second, summed over all processors.
    pub fn limit(&self, quota: Duration) {
        let quota = quota.as_micros();
        if self.counted.is_some() {
            self.limited.write("cpu.cfs_period_us", "100000");
            self.limited.write("cpu.cfs_quota_us", &quota.to_string());
        } else {
            self.limited.write("cpu.max", &format!("{quota} 100000"));
        }
    }

    /// Returns a command that runs a program in the cgroup from the start.
    pub fn command(&self, program: &Path) -> Command {
        let both: Vec<&Directory> = [&self.limited].into_iter().chain(&self.counted).collect();
        command_in(&both, program)
    }

    /// Returns the time that its processes have taken, including those that have ended.
    pub fn used(&self) -> Duration {
        match &self.counted {
            Some(counted) => {
                let nanos = counted.read("cpuacct.usage");
                Duration::from_nanos(nanos.trim().parse().unwrap())
            }
            None => Duration::from_micros(self.limited.number("cpu.stat", "usage_usec")),
        }
    }

    /// Returns in how many tenths of a second it had to wait for the next.
    pub fn throttled(&self) -> u64 {
        self.limited.number("cpu.stat", "nr_throttled")
    }

    pub fn members(&self) -> Vec<i32> {
        let members = self.limited.read("cgroup.procs");
        members.lines().map(|pid| pid.parse().unwrap()).collect()
    }
}

fn command_in(directories: &[&Directory], program: &Path) -> Command {
    const ENTER: &str =
        "while [ \"$1\" != -- ]; do echo $$ > \"$1\"; shift; done; shift; exec \"$0\" \"$@\"";
    let members = directories
        .iter()
        .map(|directory| directory.0.join("cgroup.procs"));
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", ENTER])
        .arg(program)
        .args(members)
        .arg("--");
    command
}

/// A cgroup. It is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn make(mount: &str, name: &str) -> Option<Self> {
        let name = format!("rtops-test-{name}-{}", process::id());
        let directory = Path::new(MOUNTS).join(mount).join(name);
        // In version 1, two controllers may share a directory.
        (directory.is_dir() || fs::create_dir(&directory).is_ok()).then_some(Self(directory))
    }

    fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// Returns the number after this name in a file.
    fn number(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
        let pair = pairs.find(|(key, _)| *key == name);
        pair.unwrap_or_else(|| panic!("{file} has no {name}: {text}"))
            .1
            .parse()
            .unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Its last process may need a moment to disappear.
        let end = Instant::now() + DEADLINE;
        while self.0.is_dir() && fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            thread::yield_now();
        }
    }
}
