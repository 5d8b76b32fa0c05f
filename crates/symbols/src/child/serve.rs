//! The process that reads symbols.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use rtops_protocol::{FrameKind, Module, ProtocolError};

use super::{
    message::{OfModule, Question, Setup},
    tell::Teller,
};
use crate::{Options, Pid, ask::Ask, cache::Remembering, here::Here};

/// How many addresses are looked up before the results are sent. With fewer at a time,
/// there would be too few units to read several at once.
const AT_A_TIME: usize = 4096;

/// Answers the questions on standard input until there are no more.
pub(super) fn run() -> Result<(), ProtocolError> {
    let stream = rtops_confined::serve()?;
    let mut questions = BufReader::new(&stream);
    let Question::Setup(setup) = Question::receive(&mut questions)? else {
        return Err(ProtocolError::Unexpected(FrameKind::SYMBOLS.0));
    };
    rtops_confined::limit(setup.memory, setup.processor)?;
    let mut reader = reader(setup);
    loop {
        let asks = asks(&mut questions, &mut reader)?;
        answer(&mut reader, &asks, Teller::new(BufWriter::new(&stream)))?;
        // The answers are sent, so nobody waits for this.
        reader.keep();
    }
}

fn reader(setup: Setup) -> Remembering {
    let dirs = setup.symbol_dirs.into_iter();
    let here = Here::new(Options {
        pid: setup.pid.map(Pid::new),
        symbol_dirs: dirs.map(PathBuf::from).collect(),
        files: HashMap::new(),
        c_library_lines: setup.c_library_lines,
    });
    let cache = setup.cache.map(PathBuf::from);
    Remembering::new(here, cache.as_deref())
}

fn answer(
    reader: &mut Remembering,
    asks: &[Ask],
    mut teller: Teller<impl Write>,
) -> Result<(), ProtocolError> {
    for (position, ask) in (0..).zip(asks) {
        let Ask {
            ref module,
            ref addresses,
            ref polls,
        } = *ask;
        teller.begin(position)?;
        for addresses in addresses.chunks(AT_A_TIME) {
            teller.tell_found(reader.found(module, addresses))?;
        }
        for polls in polls.chunks(AT_A_TIME) {
            teller.tell_pollers(reader.pollers(module, polls))?;
        }
        teller.tell_facts(reader.facts(module))?;
    }
    teller.end()
}

/// Receives all questions up to [`Question::Go`].
fn asks(questions: &mut impl Read, reader: &mut Remembering) -> Result<Vec<Ask>, ProtocolError> {
    let mut asks: Vec<Ask> = Vec::new();
    loop {
        match (Question::receive(questions)?, asks.last_mut()) {
            (Question::Prepare(of), _) => {
                let module = opened(of, reader);
                reader.prepare(&module);
            }
            (Question::Module(of), _) => asks.push(Ask {
                module: opened(of, reader),
                addresses: Vec::new(),
                polls: Vec::new(),
            }),
            (Question::Addresses(more), Some(ask)) => ask.addresses.extend(more),
            (Question::Polls(more), Some(ask)) => ask.polls.extend(more),
            (Question::Go, _) => return Ok(asks),
            _ => return Err(ProtocolError::Unexpected(FrameKind::SYMBOLS.0)),
        }
    }
}

/// Returns the module, after opening its file if one was given.
fn opened(of: OfModule, reader: &mut Remembering) -> Module {
    // The path leads to a file that is open elsewhere, so it is
    // opened anew, whatever has its name by now.
    let file = of
        .file
        .and_then(|path| File::open(PathBuf::from(path)).ok());
    if let Some(file) = file {
        reader.here().add_file(&of.module.path, Arc::new(file));
    }
    of.module
}
