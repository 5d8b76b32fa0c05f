//! Files of `/proc/PID` that a process can make as long as it likes, read up to a limit. `procfs`
//! reads them whole: clippy.toml forbids its functions for these.

use std::io::BufReader;

use procfs::{
    FromBufRead, FromBufReadSI, ProcError, ProcResult, ProcessCGroups, current_system_info,
    process::{MountInfo, MountInfos, Process, Status, Task},
};
use rtops_files::bounded::{self, Contents, Limited};
use rtops_types::Pid;

/// The most bytes of a command line. The kernel shows whatever memory the process claims it is in.
const MAX_COMMAND_LINE: usize = 64 << 10;
/// The most bytes of a status, which lists the groups of the user: there may be 65,536.
const MAX_STATUS: usize = 1 << 20;
/// The most bytes of the process's groups, each of which has a path of at most 4096 bytes.
const MAX_GROUPS: usize = 64 << 10;
/// The most bytes of a list of mounts. The owner of a mount namespace may make 100,000.
const MAX_MOUNTS: usize = 1 << 20;
/// The longest line of these, in bytes.
const MAX_LINE: usize = 8 << 10;
/// The most bytes of a table of sockets: about 400,000 lines.
const MAX_TABLE: u64 = 64 << 20;
/// The most threads to look at.
pub const MAX_THREADS: usize = 16_384;

/// Opens the process with this PID.
///
/// # Errors
/// If there is none.
pub fn process(pid: Pid) -> ProcResult<Process> {
    Process::new(pid.as_raw())
}

/// The arguments that a process was started with, or what it claims they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CommandLine {
    /// The arguments that were read, without empty ones; the last one may be cut.
    pub arguments: Vec<String>,
    /// Whether there are more.
    pub is_cut: bool,
}

impl CommandLine {
    /// Reads the command line.
    ///
    /// # Errors
    /// If the process has ended, or hides it.
    pub fn of(process: &Process) -> ProcResult<Self> {
        let read = bounded::read(process.open_relative("cmdline")?, MAX_COMMAND_LINE)?;
        Ok(Self::parse(&read))
    }

    fn parse(read: &Contents) -> Self {
        let arguments = read.bytes.split(|byte| *byte == 0);
        let arguments = arguments.filter(|argument| !argument.is_empty());
        Self {
            arguments: arguments
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect(),
            is_cut: read.is_cut,
        }
    }

    /// Returns the arguments joined by spaces, or the process's name in brackets if
    /// there are none. A cut text ends in `…`.
    pub fn text(&self, name: &str) -> String {
        let mut text = match &self.arguments[..] {
            [] => format!("[{name}]"),
            arguments => arguments.join(" "),
        };
        if self.is_cut {
            text.push('…');
        }
        text
    }
}

/// Reads the status of a process; its groups may be cut.
///
/// # Errors
/// If the process has ended.
pub fn status(process: &Process) -> ProcResult<Status> {
    lines(process, "status", MAX_STATUS)
}

/// Reads the status of a thread.
///
/// # Errors
/// If the thread has ended.
pub fn thread_status(process: &Process, tid: i32) -> ProcResult<Status> {
    lines(process, &format!("task/{tid}/status"), MAX_STATUS)
}

/// Reads the control groups of a process.
///
/// # Errors
/// If the kernel does not report them.
pub fn groups(process: &Process) -> ProcResult<ProcessCGroups> {
    lines(process, "cgroup", MAX_GROUPS)
}

/// Reads the mounts that the process sees; of very many, only the first.
///
/// # Errors
/// If the user may not know.
pub fn mounts(process: &Process) -> ProcResult<Vec<MountInfo>> {
    Ok(lines::<MountInfos>(process, "mountinfo", MAX_MOUNTS)?.0)
}

fn lines<T: FromBufRead>(process: &Process, file: &str, limit: usize) -> ProcResult<T> {
    let read = bounded::read_lines(process.open_relative(file)?, MAX_LINE, limit)?;
    // A name need not be UTF-8, but procfs accepts nothing else.
    T::from_buf_read(String::from_utf8_lossy(&read.bytes).as_bytes())
}

/// Reads a table of the process's network namespace.
///
/// # Errors
/// If there is none, or it is too long to read: a part would look like the whole.
pub fn table<T: FromBufReadSI>(process: &Process, name: &str) -> ProcResult<T> {
    T::from_buf_read(open_table(process, name)?, current_system_info())
}

/// Opens such a table for reading.
///
/// # Errors
/// If there is none.
pub fn open_table(process: &Process, name: &str) -> ProcResult<BufReader<Limited<std::fs::File>>> {
    let table = process.open_relative(format!("net/{name}"))?;
    Ok(BufReader::new(Limited::new(table, MAX_TABLE)))
}

/// Returns the threads of a process; of very many, only some.
///
/// # Errors
/// If the process has ended.
pub fn threads(process: &Process) -> Result<impl Iterator<Item = Task>, ProcError> {
    #[expect(clippy::disallowed_methods, reason = "this is where it is bounded")]
    Ok(process.tasks()?.take(MAX_THREADS).flatten())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn command_line(bytes: &[u8], is_cut: bool) -> String {
        let bytes = bytes.to_vec();
        CommandLine::parse(&Contents { bytes, is_cut }).text("name")
    }

    #[test]
    fn a_command_line_is_shown_as_far_as_it_was_read() {
        assert_eq!(command_line(b"/bin/a\0-b\0", false), "/bin/a -b");
        assert_eq!(command_line(b"/bin/a\0-lo", true), "/bin/a -lo…");
        assert_eq!(command_line(b"", false), "[name]");
        assert_eq!(command_line(b"\0\0\0", true), "[name]…");
        assert_eq!(command_line(b"a\xff", false), "a\u{fffd}");
    }

    #[test]
    fn what_procfs_reads_of_this_process_is_the_same() {
        let own = Process::myself().unwrap();
        assert_eq!(status(&own).unwrap().tgid, own.pid());
        assert!(!groups(&own).unwrap().0.is_empty());
        assert!(!mounts(&own).unwrap().is_empty());
        let command: Vec<String> = std::env::args().filter(|word| !word.is_empty()).collect();
        assert_eq!(CommandLine::of(&own).unwrap().arguments, command);
        assert!(threads(&own).unwrap().count() >= 1);
    }
}
