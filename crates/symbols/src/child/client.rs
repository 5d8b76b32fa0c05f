//! Starts the process that reads symbols, and asks it.

use std::{
    env,
    io::{self, BufReader, BufWriter, ErrorKind, Read, Write},
    mem,
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::Path,
    process::{self, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rtops_protocol::ProtocolError;

use super::{
    ARGUMENT, ChildOptions,
    message::{Question, Setup},
    take::Answers,
};
use crate::{
    Options, Pid,
    ask::{Answer, Ask, Reader},
};

/// Which part of the time that it has the process may take to end by itself.
const ENDING: u32 = 10;

/// The variables that tell where caches are.
const CACHES: [&str; 3] = ["DEBUGINFOD_CACHE_PATH", "HOME", "XDG_CACHE_HOME"];

/// A process that reads symbols. It ends when this is dropped.
#[derive(Debug)]
pub struct ReaderProcess {
    options: ChildOptions,
    state: State,
}

#[derive(Debug)]
enum State {
    NotStarted(io::Error),
    Running(Child),
    /// It is not started again: it would fail again.
    Ended,
}

impl ReaderProcess {
    /// Starts it, so that it is ready when there is something to ask. Where that fails,
    /// [`Symbols::lacks`](crate::Symbols::lacks) says so.
    #[must_use]
    pub fn start(options: ChildOptions) -> Self {
        let ending = options.timeout / ENDING;
        let state = match Child::start(&options.program, ending) {
            Ok(child) => State::Running(child),
            Err(error) => State::NotStarted(error),
        };
        Self { options, state }
    }
}

/// Asks another process for symbols.
pub(super) struct Client {
    options: Options,
    process: ReaderProcess,
    /// Whether it was told what it has to know before.
    is_set_up: bool,
}

impl Client {
    pub(super) const fn new(options: Options, process: ReaderProcess) -> Self {
        Self {
            options,
            process,
            is_set_up: false,
        }
    }

    /// Asks, and takes what is told until the end or until something goes wrong.
    fn ask(&mut self, asks: &[Ask], answers: &mut Answers) -> Result<(), Failure> {
        let ReaderProcess { options, state } = &self.process;
        let end = Instant::now() + options.timeout;
        let child = match state {
            State::Running(child) => child,
            State::NotStarted(error) => return Err(Failure::NotStarted(error.to_string())),
            State::Ended => return Ok(()),
        };
        if !self.is_set_up {
            child.begin(&self.options, options, end)?;
            self.is_set_up = true;
        }
        child.ask(asks, &self.options, end)?;
        Ok(answers.receive(&mut BufReader::new(child.until(end)))?)
    }
}

impl Reader for Client {
    fn answer(&mut self, asks: &[Ask]) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        let asked = asks.iter();
        let mut answers = Answers::of(asked.map(|ask| (ask.addresses.len(), ask.polls.len())));
        if let Err(failure) = self.ask(asks, &mut answers) {
            let status = match mem::replace(&mut self.process.state, State::Ended) {
                State::Running(child) => child.kill(),
                State::NotStarted(_) | State::Ended => None,
            };
            answers.fail(&failure.sentence(status, self.process.options.timeout));
        }
        answers.into_given()
    }

    fn end(&mut self) {
        if let State::Running(child) = &self.process.state {
            child.end();
        }
    }
}

/// Why there is no more to come.
enum Failure {
    NotStarted(String),
    TimedOut,
    Ended,
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
    /// What became of the process, as the end of a sentence.
    fn sentence(&self, status: Option<ExitStatus>, timeout: Duration) -> String {
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

/// The process. It ends when this is dropped.
#[derive(Debug)]
struct Child {
    process: process::Child,
    stream: UnixStream,
    /// How long it may take to end by itself.
    ending: Duration,
}

impl Child {
    fn start(program: &Path, ending: Duration) -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .arg0("rtops")
            .arg(ARGUMENT)
            .env_clear()
            // Where caches are, among them those of debug files.
            .envs(CACHES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is typed at a terminal is not for it.
            .process_group(0);
        Ok(Self {
            process: command.spawn()?,
            stream: here,
            ending,
        })
    }

    fn begin(&self, options: &Options, child: &ChildOptions, end: Instant) -> Result<(), Failure> {
        let dirs = options.symbol_dirs.iter();
        let setup = Setup {
            pid: options.pid.map(Pid::as_raw),
            symbol_dirs: dirs.map(|dir| dir.as_path().into()).collect(),
            c_library_lines: options.c_library_lines,
            cache: child.cache.as_deref().map(Into::into),
            memory: child.memory,
            processor: child.timeout.as_secs().saturating_add(1),
        };
        Ok(Question::Setup(setup).send(&mut self.until(end))?)
    }

    fn ask(&self, asks: &[Ask], options: &Options, end: Instant) -> Result<(), Failure> {
        let mut stream = BufWriter::new(self.until(end));
        for ask in asks {
            let file = options.files.get(&ask.module.path);
            let file = file.map(|file| format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
            let question = Question::Module {
                number: u32::try_from(ask.number).unwrap_or(u32::MAX),
                module: ask.module.clone(),
                file: file.map(|path| Path::new(&path).into()),
            };
            question.send(&mut stream)?;
            Question::send_addresses(&ask.addresses, &ask.polls, &mut stream)?;
        }
        Question::Go.send(&mut stream)?;
        stream.flush().map_err(ProtocolError::from)?;
        Ok(())
    }

    /// The stream, as long as there is time.
    const fn until(&self, end: Instant) -> Timed<'_> {
        Timed {
            stream: &self.stream,
            end,
        }
    }

    /// Lets it end: it may have something left to write, and then finds that nobody asks any more.
    fn end(&self) {
        let _is_there = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends it, and says how it had ended if it had.
    fn kill(mut self) -> Option<ExitStatus> {
        // One that has ended keeps its status.
        let _is_there = self.process.kill();
        self.process.wait().ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
        let _has_ended = self.until(Instant::now() + self.ending).read(&mut [0]);
        let _is_there = self.process.kill();
        let _status = self.process.wait();
    }
}

/// A stream with a deadline for all that is read and written.
struct Timed<'a> {
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
