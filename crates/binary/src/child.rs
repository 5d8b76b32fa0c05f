//! Reads programs in a separate process.
//!
//! `rtops list` looks at the programs of all users, possibly as root. A budget bounds the
//! cost of each program. In addition, the process is confined (`rtops_confined`) and has a
//! deadline for all of its work.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    mem,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use rtops_confined::{Failure, Process, Timed, path_of};
use rtops_protocol::{FrameKind, ProtocolError, receive_message, send_message};
use serde::{Deserialize, Serialize};

use crate::{Built, Details, Package};

/// The argument that makes the program read others.
const ARGUMENT: &str = "--rtops-program-reader";
/// How much address space the process may use, in bytes.
const MEMORY: u64 = 2 << 30;
/// One of many programs may take the remaining time divided by
/// this, so that a hostile one leaves some for others.
const SHARE: u32 = 4;
/// How often the process is started at most: a program may make it end.
const MAX_STARTS: usize = 16;
/// The number of packages in one message.
const PACKAGES: usize = 64;
/// More packages than any program has.
const MAX_PACKAGES: usize = 1 << 16;

#[derive(Deserialize, Serialize)]
enum Question {
    /// How much memory, in bytes, and processor time, in seconds, it may use.
    Limits(u64, u64),
    /// Asks how the program was built whose file is open at this path.
    Built(String),
    /// Asks for everything that this program reveals.
    Details(String),
}

#[derive(Deserialize, Serialize)]
enum Told {
    Built(Result<Option<Built>, String>),
    /// The details without the packages, which follow, and then [`Told::End`].
    Details(Result<Box<Details>, String>),
    Packages(Vec<Package>),
    End,
}

impl Question {
    fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        send_message(stream, FrameKind::PROGRAMS, self)
    }
}

impl Told {
    fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        send_message(stream, FrameKind::PROGRAMS, self)
    }

    fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        receive_message(stream, FrameKind::PROGRAMS)
    }
}

/// Reads programs in a separate process, which is started when there is something to read.
#[derive(Debug)]
pub struct Reader {
    program: PathBuf,
    timeout: Duration,
    end: Instant,
    process: Option<Process>,
    starts: usize,
    failure: Option<String>,
}

impl Reader {
    /// Makes a reader that may take this long for all programs together. The program to start
    /// must begin with [`run_if_asked`]; it is the running program if `None`.
    #[must_use]
    pub fn new(program: Option<PathBuf>, timeout: Duration) -> Self {
        Self {
            program: program.unwrap_or_else(|| "/proc/self/exe".into()),
            timeout,
            end: Instant::now() + timeout,
            process: None,
            starts: 0,
            failure: None,
        }
    }

    /// Restores the reader's full time, and forgets what went wrong.
    pub fn renew(&mut self) {
        self.end = Instant::now() + self.timeout;
        self.starts = 0;
        self.failure = None;
    }

    /// Returns the id of the process, if there is one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Returns the first thing that kept it from reading a program, as a sentence.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Returns how a program was built; `None` if it is not written in Rust or can't be read.
    pub fn built(&mut self, program: &File) -> Option<Built> {
        let told = self.ask(
            &Question::Built(path_of(program)),
            SHARE,
            |stream| match Told::receive(stream)? {
                Told::Built(built) => Ok(built),
                _ => Err(unexpected()),
            },
        );
        told.ok()?.ok()?
    }

    /// Returns everything that a program reveals.
    ///
    /// # Errors
    /// If the program can't be read, or the process failed over it;
    /// the text is the end of a sentence.
    pub fn details(&mut self, program: &File) -> Result<Details, String> {
        self.ask(&Question::Details(path_of(program)), 1, |stream| {
            let mut details = match Told::receive(stream)? {
                Told::Details(Ok(details)) => *details,
                Told::Details(Err(why)) => return Ok(Err(why)),
                _ => return Err(unexpected()),
            };
            loop {
                match (Told::receive(stream)?, &mut details.packages) {
                    (Told::End, _) => return Ok(Ok(details)),
                    (Told::Packages(more), Some(Ok(packages)))
                        if packages.len() + more.len() <= MAX_PACKAGES =>
                    {
                        packages.extend(more);
                    }
                    _ => return Err(unexpected()),
                }
            }
        })?
    }

    fn ask<T>(
        &mut self,
        question: &Question,
        share: u32,
        receive: impl FnOnce(&mut BufReader<Timed<'_>>) -> Result<T, ProtocolError>,
    ) -> Result<T, String> {
        let left = self.end.saturating_duration_since(Instant::now());
        let end = Instant::now() + left / share;
        let failure = match self.process() {
            Ok(process) => {
                let told = question
                    .send(&mut process.until(end))
                    .and_then(|()| receive(&mut BufReader::new(process.until(end))));
                match told {
                    Ok(told) => return Ok(told),
                    Err(error) => error.into(),
                }
            }
            Err(failure) => failure,
        };
        let status = self.process.take().and_then(Process::kill);
        let sentence = failure.sentence(status, self.timeout);
        let sentence = format!("the process that reads programs {sentence}");
        self.failure.get_or_insert(sentence.clone());
        Err(sentence)
    }

    /// Returns the process, and starts it if there is none.
    fn process(&mut self) -> Result<&Process, Failure> {
        if let Some(process) = self.process.take() {
            return Ok(self.process.insert(process));
        }
        if self.starts == MAX_STARTS {
            return Err(Failure::Ended);
        }
        self.starts += 1;
        let process = Process::start(&self.program, ARGUMENT, self.timeout / 10)
            .map_err(|error| Failure::NotStarted(error.to_string()))?;
        // The process may have ended already. It is kept first, so
        // that the caller can report how it ended.
        let process = self.process.insert(process);
        let limits = Question::Limits(MEMORY, self.timeout.as_secs().saturating_add(1));
        limits.send(&mut process.until(self.end))?;
        Ok(process)
    }
}

fn unexpected() -> ProtocolError {
    ProtocolError::Unexpected(FrameKind::PROGRAMS.0)
}

/// Becomes the process that reads programs, if this process was started as one; then it does not
/// return. The program calls this before anything else, while it has one thread and no open files.
pub fn run_if_asked() {
    if rtops_confined::is_asked(ARGUMENT) {
        // The asking process sees that this one has ended; there is nobody else to tell.
        process::exit(i32::from(run().is_err()));
    }
}

/// Answers questions until there are no more.
fn run() -> Result<(), ProtocolError> {
    let stream = rtops_confined::serve()?;
    let mut questions = BufReader::new(&stream);
    loop {
        let question = receive_message(&mut questions, FrameKind::PROGRAMS)?;
        let mut answers = BufWriter::new(&stream);
        match question {
            Question::Limits(memory, processor) => rtops_confined::limit(memory, processor)?,
            Question::Built(path) => {
                let built = File::open(path).map_err(Into::into);
                let built = built.and_then(|file| Built::read(&file));
                Told::Built(built.map_err(|error| error.to_string())).send(&mut answers)?;
            }
            Question::Details(path) => {
                let details = File::open(path).map_err(Into::into);
                let details = details.and_then(|file| Details::read(&file));
                tell(details.map_err(|error| error.to_string()), &mut answers)?;
            }
        }
        answers.flush()?;
    }
}

fn tell(details: Result<Details, String>, answers: &mut impl Write) -> Result<(), ProtocolError> {
    let mut details = match details {
        Ok(details) => details,
        Err(why) => return Told::Details(Err(why)).send(answers),
    };
    let packages = match &mut details.packages {
        Some(Ok(packages)) => mem::take(packages),
        Some(Err(_)) | None => Vec::new(),
    };
    Told::Details(Ok(Box::new(details))).send(answers)?;
    for packages in packages.chunks(PACKAGES) {
        Told::Packages(packages.to_vec()).send(answers)?;
    }
    Told::End.send(answers)
}
