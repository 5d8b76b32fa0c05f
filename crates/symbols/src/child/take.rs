//! Receives answers, within bounds: their sender is not trusted.

use std::{io::Read, sync::Arc};

use rtops_protocol::{FrameKind, ProtocolError};

use super::message::{MAX_DEPTH, MAX_NAME, Told, ToldFound, ToldFrame, ToldPoller};
use crate::{
    LackReason, Place,
    ask::{Answer, Facts, Found, Line, PolledBy},
};

/// The most bytes that are accepted in all.
const MAX_TEXT: usize = 512 << 20;

/// The answers so far.
pub(crate) struct Answers {
    /// For each module, how many addresses and how many polling functions were asked about.
    asked: Vec<(usize, usize)>,
    given: Vec<Answer>,
    /// The position of the module that the messages are about.
    reading: usize,
    names: Vec<String>,
    frames: Vec<Arc<Line>>,
    /// How many bytes were received, or made from what was received.
    bytes: usize,
}

/// An error for what no honest sender sends.
fn nonsense(what: &str) -> ProtocolError {
    ProtocolError::Malformed {
        kind: FrameKind::SYMBOLS.0,
        reason: what.to_owned(),
    }
}

impl Answers {
    /// Expects answers for this many addresses and polling functions of each module.
    pub(crate) fn of(asked: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let asked: Vec<(usize, usize)> = asked.into_iter().collect();
        Self {
            given: asked.iter().map(|_| Answer::default()).collect(),
            asked,
            reading: 0,
            names: Vec::new(),
            frames: Vec::new(),
            bytes: 0,
        }
    }

    /// Receives answers until the end.
    pub(crate) fn receive(&mut self, stream: &mut impl Read) -> Result<(), ProtocolError> {
        loop {
            match Told::receive(stream)? {
                // Earlier modules are finished.
                Told::Reading(position) if position as usize >= self.reading => {
                    self.reading = position as usize;
                }
                Told::Reading(_) => return Err(nonsense("a module twice")),
                Told::Names(names) => self.take_names(names)?,
                Told::Frames(frames) => self.take_frames(frames)?,
                Told::Found(found) => {
                    for found in found {
                        self.take_found(&found)?;
                    }
                }
                Told::Pollers(pollers) => {
                    for poller in pollers {
                        self.take_poller(&poller)?;
                    }
                }
                Told::Facts(facts) => self.current()?.1.facts = Some(facts.into()),
                Told::End => return Ok(()),
            }
        }
    }

    /// Returns one answer for each module, as far as it was received.
    pub(crate) fn into_given(self) -> Vec<Answer> {
        self.given
    }

    /// Reports a failure once, for the module that was being read at the time.
    pub(super) fn fail(&mut self, why: &str) {
        let last = self.given.len().saturating_sub(1);
        if let Some(answer) = self.given.get_mut(self.reading.min(last)) {
            answer.facts = Some(Facts {
                lack: Some(LackReason::Unread(why.to_owned())),
                ..answer.facts.take().unwrap_or_default()
            });
        }
    }

    /// Returns the answer for the current module, and how much was asked about it.
    fn current(&mut self) -> Result<((usize, usize), &mut Answer), ProtocolError> {
        let asked = self.asked.get(self.reading).copied();
        let found = asked.zip(self.given.get_mut(self.reading));
        found.ok_or_else(|| nonsense("a module that was not asked for"))
    }

    fn take_names(&mut self, names: Vec<String>) -> Result<(), ProtocolError> {
        for name in &names {
            if name.len() > MAX_NAME {
                return Err(nonsense("a long name"));
            }
            self.count(name.len() + size_of::<String>())?;
        }
        self.names.extend(names);
        Ok(())
    }

    fn take_frames(&mut self, frames: Vec<ToldFrame>) -> Result<(), ProtocolError> {
        for ToldFrame { function, place } in frames {
            let place = match place {
                Some(place) => Some(Place {
                    file: self.name(place.file)?,
                    line: place.line,
                    column: place.column,
                }),
                None => None,
            };
            let function = self.name(function)?;
            self.count(size_of::<Line>())?;
            self.frames.push(Arc::new(Line { function, place }));
        }
        Ok(())
    }

    fn take_found(&mut self, told: &ToldFound) -> Result<(), ProtocolError> {
        if told.frames.len() > MAX_DEPTH {
            return Err(nonsense("a deep stack"));
        }
        self.count(size_of_val(&*told.frames))?;
        let frames = told.frames.iter();
        let frames = frames.map(|number| self.frames.get(*number as usize).cloned());
        let frames: Option<Vec<Arc<Line>>> = frames.collect();
        let frames = frames.ok_or_else(|| nonsense("a frame that was not told"))?;
        let ((addresses, _), answer) = self.current()?;
        if answer.found.len() >= addresses {
            return Err(nonsense("too many addresses"));
        }
        answer.found.push(Found {
            frames,
            start: told.start,
        });
        Ok(())
    }

    fn take_poller(&mut self, told: &ToldPoller) -> Result<(), ProtocolError> {
        let future_type = told.future_type.map(|number| self.name(number));
        let future_type = future_type.transpose()?;
        let ((_, polls), answer) = self.current()?;
        if answer.pollers.len() >= polls {
            return Err(nonsense("too many functions that poll"));
        }
        answer.pollers.push(PolledBy {
            future_type,
            entry: told.entry,
        });
        Ok(())
    }

    fn name(&mut self, number: u32) -> Result<String, ProtocolError> {
        let name = self.names.get(number as usize).cloned();
        let name = name.ok_or_else(|| nonsense("a name that was not told"))?;
        self.count(name.len() + size_of::<String>())?;
        Ok(name)
    }

    /// Counts bytes that are kept.
    fn count(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > MAX_TEXT {
            true => Err(nonsense("too much")),
            false => Ok(()),
        }
    }
}
