//! The process that reads symbols.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use rtops_protocol::{FrameKind, ProtocolError};

use super::{
    message::{Question, Setup},
    tell::Teller,
};
use crate::{Options, Pid, ask::Ask, cache::Remembering, here::Here};

/// How many addresses are looked up before they are told.
const AT_A_TIME: usize = 256;

/// Answers what is asked on its standard input until nobody asks any more.
pub(super) fn run() -> Result<(), ProtocolError> {
    let stream = rtops_confined::serve()?;
    let mut questions = BufReader::new(&stream);
    let Question::Setup(setup) = Question::receive(&mut questions)? else {
        return Err(ProtocolError::Unexpected(FrameKind::SYMBOLS.0));
    };
    rtops_confined::limit(setup.memory, setup.processor)?;
    let mut reader = reader(setup);
    loop {
        let asks = asks(&mut questions, reader.here())?;
        answer(&mut reader, &asks, Teller::new(BufWriter::new(&stream)))?;
        // Nobody has to wait for it.
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
            number,
            ref module,
            ref addresses,
            ref polls,
        } = *ask;
        teller.begin(position)?;
        for addresses in addresses.chunks(AT_A_TIME) {
            teller.tell_found(reader.found(number, module, addresses))?;
        }
        for polls in polls.chunks(AT_A_TIME) {
            teller.tell_pollers(reader.pollers(number, module, polls))?;
        }
        teller.tell_facts(reader.facts(number, module))?;
    }
    teller.end()
}

/// All that is asked in one go.
fn asks(questions: &mut impl Read, here: &mut Here) -> Result<Vec<Ask>, ProtocolError> {
    let mut asks: Vec<Ask> = Vec::new();
    loop {
        let question = Question::receive(questions)?;
        match (question, asks.last_mut()) {
            (
                Question::Module {
                    number,
                    module,
                    file,
                },
                _,
            ) => {
                // It is opened anew, by where it is open elsewhere: whatever has its name by now.
                let file = file.and_then(|path| File::open(PathBuf::from(path)).ok());
                if let Some(file) = file {
                    here.add_file(&module.path, Arc::new(file));
                }
                asks.push(Ask {
                    number: number as usize,
                    module,
                    addresses: Vec::new(),
                    polls: Vec::new(),
                });
            }
            (Question::Addresses(more), Some(ask)) => ask.addresses.extend(more),
            (Question::Polls(more), Some(ask)) => ask.polls.extend(more),
            (Question::Go, _) => return Ok(asks),
            _ => return Err(ProtocolError::Unexpected(FrameKind::SYMBOLS.0)),
        }
    }
}
