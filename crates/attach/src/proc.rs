//! Reads files in /proc of a process, all with a size limit: the
//! process determines how long they get.

use std::{fs::File, io};

use rtops_files::bounded;
use rtops_image::{Pid, Tid};

/// The limit for `maps`: enough for 65,530 mappings, the kernel's default limit, with long paths.
const MOST_MAPS: usize = 64 << 20;
/// The limit for any other file.
const MOST: usize = 1 << 16;
/// More threads than any service has.
pub(crate) const MOST_THREADS: usize = 1 << 16;

/// Reads a small file in /proc and cuts it off at the limit.
pub(crate) fn read(path: &str) -> io::Result<String> {
    let contents = bounded::read(File::open(path)?, MOST)?;
    Ok(String::from_utf8_lossy(&contents.bytes).into_owned())
}

/// Reads the auxiliary vector of a process.
pub(crate) fn auxv(pid: Pid) -> io::Result<Vec<u8>> {
    Ok(bounded::read(File::open(format!("/proc/{pid}/auxv"))?, MOST)?.bytes)
}

/// Reads the text of the mappings of a process; fails if there are too many.
pub(crate) fn maps(pid: Pid) -> io::Result<Vec<u8>> {
    let contents = bounded::read(File::open(format!("/proc/{pid}/maps"))?, MOST_MAPS)?;
    if contents.is_cut {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(contents.bytes)
}

/// Lists the current threads of a process.
pub(crate) fn threads(pid: Pid) -> io::Result<Vec<Tid>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let numbers = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Tid::new);
    // One more shows that there are too many.
    Ok(numbers.take(MOST_THREADS + 1).collect())
}

/// The text of a `status` file: lines of a name and a value.
#[derive(Clone, Debug)]
pub(crate) struct Status(String);

impl Status {
    /// Reads the status of a process or of one of its threads.
    pub(crate) fn of(task: &str) -> io::Result<Self> {
        read(&format!("/proc/{task}/status")).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns what follows a name and a colon.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim())
    }

    /// Returns the first number of a field.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.split_whitespace().next()?.parse().ok()
    }

    /// Returns the letter of the state.
    pub(crate) fn state(&self) -> Option<char> {
        self.field("State")?.chars().next()
    }

    /// Returns the process that traces it.
    pub(crate) fn tracer(&self) -> Option<Pid> {
        let tracer = self.field("TracerPid")?.parse().ok()?;
        (tracer != Pid::new(0)).then_some(tracer)
    }

    /// Returns the PID of the process in its own namespace.
    pub(crate) fn own_number(&self) -> Option<i32> {
        let numbers = self.field("NSpid")?;
        numbers.split_whitespace().next_back()?.parse().ok()
    }
}

/// Returns whether a thread is in uninterruptible sleep, where no signal reaches it.
pub(crate) fn is_uninterruptible(pid: Pid, tid: Tid) -> bool {
    let Ok(stat) = read(&format!("/proc/{pid}/task/{tid}/stat")) else {
        return false;
    };
    // The name may contain anything, even parentheses.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|rest| rest.starts_with('D'))
}

/// Returns the number of the system call that a thread waits in, as far
/// as this shows without stopping it.
pub(crate) fn waits_in(pid: Pid, tid: Tid) -> Option<i64> {
    let text = read(&format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let call = text.split_whitespace().next()?.parse().ok()?;
    (call >= 0).then_some(call)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = Status::from_text("NSpid:\t712\t1\nState:\tS (sleeping)\nVmLck:\t  64 kB\n");
        assert_eq!(status.own_number(), Some(1));
        assert_eq!(status.state(), Some('S'));
        assert_eq!(status.number("VmLck"), Some(64));
        assert_eq!(status.field("Vm"), None);
        assert_eq!(status.tracer(), None);
    }
}
