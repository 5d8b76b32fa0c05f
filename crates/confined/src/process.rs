//! The asker's side of the process.

use std::{
    env,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::Path,
    process::{self, Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rtops_protocol::ProtocolError;

/// The variables that determine where caches are.
const CACHES: [&str; 3] = ["DEBUGINFOD_CACHE_PATH", "HOME", "XDG_CACHE_HOME"];

/// A process that reads hostile files. Dropping this ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stream: UnixStream,
    ending: Duration,
}

impl Process {
    /// Starts a program, which must call [`serve`](crate::serve) if it was started with that
    /// argument. `ending` is how long it may take to end on its own once nobody asks any more.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(program: &Path, argument: &str, ending: Duration) -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .arg0("rtops")
            .arg(argument)
            .env_clear()
            // Where caches are, including those of debug files.
            .envs(CACHES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Keys typed at a terminal must not reach it.
            .process_group(0);
        Ok(Self {
            child: command.spawn()?,
            stream: here,
            ending,
        })
    }

    /// Returns a stream to it with a deadline.
    #[must_use]
    pub const fn until(&self, end: Instant) -> Timed<'_> {
        Timed {
            stream: &self.stream,
            end,
        }
    }

    /// Returns its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it end: it may still write something, and then finds that nobody asks any more.
    pub fn end(&self) {
        let _is_there = self.stream.shutdown(Shutdown::Write);
    }

    /// Kills it, and returns how it ended, or had ended before.
    #[must_use]
    pub fn kill(mut self) -> Option<ExitStatus> {
        // A process that has already ended keeps its status.
        let _is_there = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        let _has_ended = self.until(Instant::now() + self.ending).read(&mut [0]);
        let _is_there = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Returns a path by which the process finds a file that is open here,
/// whatever has its name by now.
#[must_use]
pub fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd())
}

/// Why nothing more will come from a process.
#[derive(Debug)]
pub enum Failure {
    /// The system could not start it.
    NotStarted(String),
    /// It took longer than allowed.
    TimedOut,
    /// It has ended.
    Ended,
    /// It sent something invalid.
    Nonsense(String),
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Io(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
                _ => Self::Ended,
            },
            other => Self::Nonsense(other.to_string()),
        }
    }
}

impl Failure {
    /// Describes what happened to a process that had this time limit, as the end of a sentence.
    /// Includes how it ended, if known.
    #[must_use]
    pub fn sentence(&self, status: Option<ExitStatus>, timeout: Duration) -> String {
        match self {
            Self::NotStarted(error) => format!("could not be started ({error})"),
            Self::TimedOut => format!("was not done within {timeout:?}; try a longer --timeout"),
            Self::Nonsense(what) => format!("told what makes no sense ({what})"),
            Self::Ended => {
                let signal = status.and_then(|status| status.signal());
                match signal.map(Signal::try_from) {
                    Some(Ok(Signal::SIGABRT)) => "ran out of memory or stack".to_owned(),
                    Some(Ok(Signal::SIGXCPU)) => "used all of its processor time".to_owned(),
                    Some(Ok(signal @ Signal::SIGKILL)) => format!("was killed ({signal})"),
                    Some(Ok(signal)) => format!("crashed ({signal})"),
                    _ => "ended early".to_owned(),
                }
            }
        }
    }
}

/// A stream with a deadline for all reads and writes.
#[derive(Debug)]
pub struct Timed<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
