//! Lists the threads of this process, from /proc/self/task.

use std::{
    fs::{self, File},
    io::{self, Read},
};

use rtops_types::Tid;

/// What /proc says about one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadInfo {
    /// The kernel's ID of the thread.
    pub tid: Tid,
    /// Its name, at most 15 bytes, lossily converted. Any thread may set any bytes: escape it.
    pub name: String,
    /// `R` running, `S` sleeping, `D` uninterruptible, `T` stopped, `Z` exited, …
    pub state: char,
    /// The kernel function that it sleeps in; `None` if it doesn't sleep or the kernel hides it.
    pub wchan: Option<String>,
    /// The number of the system call that it is in; `None` if it is in none or the kernel hides it.
    pub syscall: Option<i64>,
    /// The processor time used, in clock ticks of `sysconf(_SC_CLK_TCK)`, user and system together.
    pub cpu_ticks: u64,
    /// How often it was scheduled on a processor; `None` if the kernel does not count that.
    pub timeslices: Option<u64>,
}

/// Returns every thread of this process. A thread that ends meanwhile is left out.
///
/// # Errors
///
/// If /proc/self/task can't be read: /proc is not mounted, or no file descriptor is left.
pub fn list() -> io::Result<Vec<ThreadInfo>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let Some(tid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .map(Tid::new)
        else {
            continue;
        };
        if let Some(stat) = Stat::of(tid)? {
            threads.push(ThreadInfo {
                tid,
                name: stat.name,
                state: stat.state,
                wchan: wchan(tid),
                syscall: syscall(tid),
                cpu_ticks: stat.cpu_ticks,
                timeslices: timeslices(tid),
            });
        }
    }
    Ok(threads)
}

/// The fields of /proc/self/task/TID/stat that are used here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    name: String,
    pub(crate) state: char,
    cpu_ticks: u64,
    /// Bit n - 1 is set if signal n is blocked. The kernel reports signals 1 to 31 here.
    pub(crate) blocked: u64,
}

impl Stat {
    /// Reads the fields; `None` if the thread is gone.
    ///
    /// # Errors
    ///
    /// If the file can't be read although the thread exists.
    pub(crate) fn of(tid: Tid) -> io::Result<Option<Self>> {
        match read(tid, "stat") {
            Ok(stat) => Ok(Self::parse(&stat)),
            // ESRCH: it ended between open and read.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(libc::ESRCH) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Parses `TID (NAME) STATE …`. The name may contain blanks and
    /// parentheses, so it ends at the last one.
    fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|&byte| byte == b'(')?;
        let close = stat.iter().rposition(|&byte| byte == b')')?;
        let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        // Fields are numbered as in proc(5), where the state is the third.
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        let number = |of: usize| field(of)?.parse::<u64>().ok();
        Some(Self {
            name,
            state: field(3)?.chars().next()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            blocked: number(32)?,
        })
    }
}

fn wchan(tid: Tid) -> Option<String> {
    let name = String::from_utf8(read(tid, "wchan").ok()?).ok()?;
    (!name.is_empty() && name != "0").then_some(name)
}

/// Parses `NUMBER ARGUMENTS…`, `running`, or `-1 …` if blocked outside of a system call.
fn syscall(tid: Tid) -> Option<i64> {
    let line = String::from_utf8(read(tid, "syscall").ok()?).ok()?;
    let number = line.split_ascii_whitespace().next()?.parse().ok()?;
    (number >= 0).then_some(number)
}

/// Parses `RUNNING-NANOSECONDS WAITING-NANOSECONDS TIMESLICES`.
fn timeslices(tid: Tid) -> Option<u64> {
    let line = String::from_utf8(read(tid, "schedstat").ok()?).ok()?;
    line.split_ascii_whitespace().nth(2)?.parse().ok()
}

fn read(tid: Tid, file: &str) -> io::Result<Vec<u8>> {
    // The longest of these files has some 350 bytes.
    const LIMIT: u64 = 4096;
    let mut bytes = Vec::with_capacity(512);
    File::open(format!("/proc/self/task/{tid}/{file}"))?
        .take(LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STAT: &str = "7 (a) (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5 0 0 \
        18446744073709551615 0 0 0 0 0 5 4194304 0 0 0 0 17 1 0 0";

    #[test]
    fn a_name_with_parentheses_and_blanks_is_kept_whole() {
        let stat = Stat::parse(STAT.as_bytes()).unwrap();
        let expected = Stat {
            name: "a) (b) c".to_owned(),
            state: 'S',
            cpu_ticks: 42,
            blocked: 4_194_304,
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn any_prefix_of_a_stat_line_is_refused_or_parsed_without_panic() {
        for end in 0..STAT.len() {
            Stat::parse(&STAT.as_bytes()[..end]);
        }
        assert_eq!(Stat::parse(b") 1 ("), None);
        assert_eq!(Stat::parse(b"1 (\xff\xfe) S"), None);
    }
}
