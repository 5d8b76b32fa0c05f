//! Starts the process that reads symbols, and asks it.

use std::{
    cell::Cell,
    io::{self, BufReader, BufWriter, Write as _},
    mem,
    path::Path,
    time::Instant,
};

use rtops_confined::{Failure, Process, path_of};
use rtops_protocol::{Module, ProtocolError};

use super::{
    ARGUMENT, ChildOptions,
    message::{OfModule, Question, Setup},
    take::Answers,
};
use crate::{
    Options, Pid,
    ask::{Answer, Ask, Reader},
};

/// The process may take its timeout divided by this to end on its own.
const ENDING: u32 = 10;

/// A process that reads symbols. It ends when this is dropped.
#[derive(Debug)]
pub struct ReaderProcess {
    options: ChildOptions,
    state: State,
    /// Whether it got the setup that must come before questions.
    is_set_up: Cell<bool>,
}

#[derive(Debug)]
enum State {
    NotStarted(io::Error),
    Running(Process),
    /// It is not started again, as it would fail again.
    Ended,
}

impl ReaderProcess {
    /// Starts the process, so that it is ready when there is something to ask. If that fails,
    /// [`Symbols::lacks`](crate::Symbols::lacks) says so.
    #[must_use]
    pub fn start(options: ChildOptions) -> Self {
        let ending = options.timeout / ENDING;
        let state = match Process::start(&options.program, ARGUMENT, ending) {
            Ok(child) => State::Running(child),
            Err(error) => State::NotStarted(error),
        };
        Self {
            options,
            state,
            is_set_up: Cell::new(false),
        }
    }

    /// Makes the process prepare for questions about a module while there is something else to
    /// do. Must be called with the same options as later.
    pub fn prepare(&self, options: &Options, module: &Module) {
        let of = of_module(module, options);
        // If it can't be told, it can't be asked either, and that is reported then.
        let _is_told = self.tell(options, |child, end| {
            Ok(Question::Prepare(of).send(&mut child.until(end))?)
        });
    }

    /// Sends something to the process, after the setup; nothing if the process has failed before.
    fn tell(
        &self,
        options: &Options,
        what: impl FnOnce(&Process, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let end = Instant::now() + self.options.timeout;
        let child = match &self.state {
            State::Running(child) => child,
            State::NotStarted(error) => return Err(Failure::NotStarted(error.to_string())),
            State::Ended => return Ok(()),
        };
        if !self.is_set_up.get() {
            set_up(child, options, &self.options, end)?;
            self.is_set_up.set(true);
        }
        what(child, end)
    }
}

/// Asks another process for symbols.
pub(super) struct Client {
    options: Options,
    process: ReaderProcess,
}

impl Client {
    pub(super) const fn new(options: Options, process: ReaderProcess) -> Self {
        Self { options, process }
    }

    /// Asks, and reads answers until the end or until something goes wrong.
    fn ask(&mut self, asks: &[Ask], answers: &mut Answers) -> Result<(), Failure> {
        let Self { options, process } = self;
        process.tell(options, |child, end| {
            ask(child, asks, options, end)?;
            Ok(answers.receive(&mut BufReader::new(child.until(end)))?)
        })
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

fn set_up(
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
        Question::Module(of_module(&ask.module, options)).send(&mut stream)?;
        Question::send_addresses(&ask.addresses, &ask.polls, &mut stream)?;
    }
    Question::Go.send(&mut stream)?;
    stream.flush().map_err(ProtocolError::from)?;
    Ok(())
}

fn of_module(module: &Module, options: &Options) -> OfModule {
    let file = options.files.get(&module.path).map(|file| path_of(file));
    OfModule {
        module: module.clone(),
        file: file.map(|path| Path::new(&path).into()),
    }
}
