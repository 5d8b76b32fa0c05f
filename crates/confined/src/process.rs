//! The process, for who asks it.

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

/// The variables that tell where caches are.
const CACHES: [&str; 3] = ["DEBUGINFOD_CACHE_PATH", "HOME", "XDG_CACHE_HOME"];

/// A process that reads hostile files. It ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stream: UnixStream,
    ending: Duration,
}

impl Process {
    /// Starts a program, which is to call [`serve`](crate::serve) if it was started with that argument. Once nobody
    /// asks any more, it may take so long to end by itself.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Path, argument: &str, ending: Duration) -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .arg0("rtops")
            .arg(argument)
            .env_clear()
            // Where caches are, among them those of debug files.
            .envs(CACHES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is typed at a terminal is not for it.
            .process_group(0);
        Ok(Self {
            child: command.spawn()?,
            stream: here,
            ending,
        })
    }

    /// The stream to it, as long as there is time.
    #[must_use]
    pub const fn until(&self, end: Instant) -> Timed<'_> {
        Timed {
            stream: &self.stream,
            end,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it end: it may have something left to write, and then finds that nobody asks any more.
    pub fn end(&self) {
        let _is_there = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends it, and says how it had ended if it had.
    #[must_use]
    pub fn kill(mut self) -> Option<ExitStatus> {
        // One that has ended keeps its status.
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

/// Where the process finds a file that is open here: that one, whatever has its name by now.
#[must_use]
pub fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd())
}

/// Why there is no more to come from a process.
#[derive(Debug)]
pub enum Failure {
    /// The system did not start it.
    NotStarted(String),
    /// It took longer than it might.
    TimedOut,
    /// It has ended.
    Ended,
    /// What it told makes no sense.
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
    /// What became of a process that might take so long, as the end of a sentence; with how it had ended, where
    /// that is known.
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

/// A stream with a deadline for all that is read and written.
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
