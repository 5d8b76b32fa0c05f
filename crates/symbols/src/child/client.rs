//! Starts the process that reads symbols, and asks it.

use std::{
    io::{self, BufReader, BufWriter, Write as _},
    mem,
    path::Path,
    time::Instant,
};

use rtops_confined::{Failure, Process, path_of};
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

/// A process that reads symbols. It ends when this is dropped.
#[derive(Debug)]
pub struct ReaderProcess {
    options: ChildOptions,
    state: State,
}

#[derive(Debug)]
enum State {
    NotStarted(io::Error),
    Running(Process),
    /// It is not started again: it would fail again.
    Ended,
}

impl ReaderProcess {
    /// Starts it, so that it is ready when there is something to ask. Where that fails,
    /// [`Symbols::lacks`](crate::Symbols::lacks) says so.
    #[must_use]
    pub fn start(options: ChildOptions) -> Self {
        let ending = options.timeout / ENDING;
        let state = match Process::start(&options.program, ARGUMENT, ending) {
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
            begin(child, &self.options, options, end)?;
            self.is_set_up = true;
        }
        ask(child, asks, &self.options, end)?;
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

fn begin(
    process: &Process,
    options: &Options,
    child: &ChildOptions,
    end: Instant,
) -> Result<(), Failure> {
    let dirs = options.symbol_dirs.iter();
    let setup = Setup {
        pid: options.pid.map(Pid::as_raw),
        symbol_dirs: dirs.map(|dir| dir.as_path().into()).collect(),
        c_library_lines: options.c_library_lines,
        cache: child.cache.as_deref().map(Into::into),
        memory: child.memory,
        processor: child.timeout.as_secs().saturating_add(1),
    };
    Ok(Question::Setup(setup).send(&mut process.until(end))?)
}

fn ask(process: &Process, asks: &[Ask], options: &Options, end: Instant) -> Result<(), Failure> {
    let mut stream = BufWriter::new(process.until(end));
    for ask in asks {
        let file = options.files.get(&ask.module.path);
        let file = file.map(|file| path_of(file));
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
