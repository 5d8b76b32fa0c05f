//! Sends answers, with each name and each frame once.

use std::{collections::HashMap, hash::Hash, io::Write, mem, sync::Arc};

use rtops_protocol::{ProtocolError, cut};

use super::message::{
    MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_NAME, Told, ToldFound, ToldFrame, ToldPlace, ToldPoller,
};
use crate::ask::{ByIdentity, Facts, Found, Line, PolledBy};

/// Sends answers, with each name and each frame once.
pub(crate) struct Teller<W> {
    stream: W,
    names: Numbered<String>,
    frames: Numbered<ToldFrame>,
    /// The numbers of lines that have one.
    lines: HashMap<ByIdentity, u32>,
    /// The total length of the names that were not sent yet.
    bytes: usize,
}

impl<W: Write> Teller<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self {
            stream,
            names: Numbered::default(),
            frames: Numbered::default(),
            lines: HashMap::new(),
            bytes: 0,
        }
    }

    /// Begins the answer for the module at this position of the questions.
    pub(super) fn begin(&mut self, position: u32) -> Result<(), ProtocolError> {
        self.tell(&Told::Reading(position))?;
        // The receiver must know which module it is, in case it is the last.
        Ok(self.stream.flush()?)
    }

    /// Sends what is at the next addresses.
    pub(crate) fn tell_found(
        &mut self,
        found: impl IntoIterator<Item = Found>,
    ) -> Result<(), ProtocolError> {
        let mut told = Vec::new();
        let mut items = 0;
        for Found { mut frames, start } in found {
            // The innermost frames say where it is; the outermost one has a symbol.
            if frames.len() > MAX_DEPTH {
                frames.drain(MAX_DEPTH / 2..frames.len() - MAX_DEPTH / 2);
            }
            items += frames.len() + 1;
            let mut numbers = Vec::with_capacity(frames.len());
            for frame in frames {
                numbers.push(self.frame(frame)?);
            }
            told.push(ToldFound {
                frames: numbers,
                start,
            });
            if items > MAX_ITEMS {
                items = 0;
                self.tell_new()?;
                self.tell(&Told::Found(mem::take(&mut told)))?;
            }
        }
        self.tell_new()?;
        self.tell(&Told::Found(told))?;
        Ok(self.stream.flush()?)
    }

    /// Sends what the next functions poll.
    pub(crate) fn tell_pollers(
        &mut self,
        pollers: impl IntoIterator<Item = PolledBy>,
    ) -> Result<(), ProtocolError> {
        let mut told = Vec::new();
        for PolledBy { future_type, entry } in pollers {
            told.push(ToldPoller {
                future_type: future_type.map(|name| self.name(name)).transpose()?,
                entry,
            });
            if told.len() >= MAX_ITEMS {
                self.tell_new()?;
                self.tell(&Told::Pollers(mem::take(&mut told)))?;
            }
        }
        self.tell_new()?;
        self.tell(&Told::Pollers(told))?;
        Ok(self.stream.flush()?)
    }

    /// Sends what is known of the module as a whole.
    pub(crate) fn tell_facts(&mut self, facts: Facts) -> Result<(), ProtocolError> {
        self.tell(&Told::Facts(facts.into()))
    }

    /// Ends the answers.
    pub(crate) fn end(mut self) -> Result<(), ProtocolError> {
        self.tell(&Told::End)?;
        Ok(self.stream.flush()?)
    }

    fn frame(&mut self, line: Arc<Line>) -> Result<u32, ProtocolError> {
        let line = ByIdentity(line);
        if let Some(number) = self.lines.get(&line) {
            return Ok(*number);
        }
        let Line { function, place } = &*line.0;
        let function = self.name(function.clone())?;
        let place = match place {
            Some(place) => Some(ToldPlace {
                file: self.name(place.file.clone())?,
                line: place.line,
                column: place.column,
            }),
            None => None,
        };
        let number = self.frames.number(ToldFrame { function, place });
        self.lines.insert(line, number);
        if self.frames.new.len() >= MAX_ITEMS {
            self.tell_new()?;
        }
        Ok(number)
    }

    fn name(&mut self, mut name: String) -> Result<u32, ProtocolError> {
        if name.len() > MAX_NAME {
            name = format!("{}…", cut(&name, MAX_NAME - '…'.len_utf8()));
        }
        if self.bytes + name.len() > MAX_BYTES {
            self.tell_new()?;
        }
        self.bytes += name.len() + 1;
        Ok(self.names.number(name))
    }

    /// Sends the names and frames that have a number but were not sent yet.
    fn tell_new(&mut self) -> Result<(), ProtocolError> {
        self.bytes = 0;
        let names = mem::take(&mut self.names.new);
        if !names.is_empty() {
            self.tell(&Told::Names(names))?;
        }
        let frames = mem::take(&mut self.frames.new);
        if !frames.is_empty() {
            self.tell(&Told::Frames(frames))?;
        }
        Ok(())
    }

    fn tell(&mut self, told: &Told) -> Result<(), ProtocolError> {
        told.send(&mut self.stream)
    }
}

/// Numbers values in the order in which they come.
struct Numbered<T> {
    numbers: HashMap<T, u32>,
    new: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            new: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.new.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}
