//! The questions to the process that reads symbols, and its answers. The cache holds the same.
//!
//! Questions begin with one [`Question::Setup`] and perhaps a [`Question::Prepare`]. Then
//! comes a [`Question::Module`] for each module with what is asked about it, and
//! [`Question::Go`]. The answer has for each module [`Told::Reading`], what was found in
//! the order of the questions, and [`Told::Facts`]; it ends with [`Told::End`]. Names and
//! frames are numbered in the order in which they are first sent, and sent once.

use std::{
    ffi::OsString,
    io::{Read, Write},
    ops::Range,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use rtops_protocol::{FrameKind, Module, ProtocolError, receive_message, send_message};
use rtops_types::{FileOffset, Svma};
use serde::{Deserialize, Serialize};

use crate::{LackReason, ask::Facts};

/// The most numbers in one message.
pub(super) const MAX_ITEMS: usize = 1 << 14;
/// The most bytes of names in one message, unless it has only one name.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// The longest name, in bytes.
pub(super) const MAX_NAME: usize = 64 << 10;
/// The most functions that are inlined into each other.
pub(super) const MAX_DEPTH: usize = 1 << 10;

#[derive(Deserialize, Serialize)]
pub(crate) enum Question {
    Setup(Setup),
    /// Announces questions about this module. There is no answer.
    Prepare(OfModule),
    /// What follows is about this module.
    Module(OfModule),
    Addresses(Vec<Svma>),
    Polls(Vec<Svma>),
    /// That was all.
    Go,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct OfModule {
    pub module: Module,
    /// A path under which its file is open.
    pub file: Option<Bytes>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Setup {
    pub pid: Option<i32>,
    pub symbol_dirs: Vec<Bytes>,
    pub c_library_lines: bool,
    /// The user's cache directory, if they want a cache.
    pub cache: Option<Bytes>,
    pub memory: u64,
    /// How much processor time it may use, in seconds.
    pub processor: u64,
}

#[derive(Deserialize, Serialize)]
pub(super) enum Told {
    /// What follows is about the module at this position of the questions.
    Reading(u32),
    Names(Vec<String>),
    Frames(Vec<ToldFrame>),
    Found(Vec<ToldFound>),
    Pollers(Vec<ToldPoller>),
    Facts(ToldFacts),
    End,
}

#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct ToldFrame {
    pub function: u32,
    pub place: Option<ToldPlace>,
}

#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct ToldPlace {
    pub file: u32,
    pub line: u32,
    pub column: Option<u32>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct ToldFound {
    pub frames: Vec<u32>,
    pub start: Option<Svma>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct ToldPoller {
    pub future_type: Option<u32>,
    pub entry: Svma,
}

#[derive(Deserialize, Serialize)]
pub(super) struct ToldFacts {
    is_read: bool,
    lack: Option<LackReason>,
    source_directories: Vec<Bytes>,
    segment: Option<(Range<Svma>, u64)>,
}

/// A path.
#[derive(Deserialize, Serialize)]
pub(crate) struct Bytes(Vec<u8>);

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Bytes> for PathBuf {
    fn from(Bytes(bytes): Bytes) -> Self {
        OsString::from_vec(bytes).into()
    }
}

impl From<Facts> for ToldFacts {
    fn from(facts: Facts) -> Self {
        let directories = facts.source_directories.iter();
        Self {
            is_read: facts.is_read,
            lack: facts.lack,
            source_directories: directories.map(|path| path.as_path().into()).collect(),
            segment: facts.segment.map(|(memory, file)| (memory, file.0)),
        }
    }
}

impl From<ToldFacts> for Facts {
    fn from(facts: ToldFacts) -> Self {
        let directories = facts.source_directories.into_iter();
        Self {
            is_read: facts.is_read,
            lack: facts.lack,
            source_directories: directories.map(PathBuf::from).collect(),
            segment: facts
                .segment
                .map(|(memory, file)| (memory, FileOffset(file))),
        }
    }
}

impl Question {
    pub(crate) fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        send_message(stream, FrameKind::SYMBOLS, self)
    }

    pub(crate) fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        receive_message(stream, FrameKind::SYMBOLS)
    }

    /// Receives the addresses and the functions that poll, up to [`Question::Go`].
    pub(crate) fn receive_addresses(
        stream: &mut impl Read,
    ) -> Result<(Vec<Svma>, Vec<Svma>), ProtocolError> {
        let (mut addresses, mut polls) = (Vec::new(), Vec::new());
        loop {
            match Self::receive(stream)? {
                Self::Addresses(more) => addresses.extend(more),
                Self::Polls(more) => polls.extend(more),
                Self::Go => return Ok((addresses, polls)),
                _ => return Err(ProtocolError::Unexpected(FrameKind::SYMBOLS.0)),
            }
        }
    }

    /// Asks about addresses and about functions that poll.
    pub(crate) fn send_addresses(
        addresses: &[Svma],
        polls: &[Svma],
        stream: &mut impl Write,
    ) -> Result<(), ProtocolError> {
        for addresses in addresses.chunks(MAX_ITEMS) {
            Self::Addresses(addresses.to_vec()).send(stream)?;
        }
        for polls in polls.chunks(MAX_ITEMS) {
            Self::Polls(polls.to_vec()).send(stream)?;
        }
        Ok(())
    }
}

impl Told {
    pub(super) fn send(&self, stream: &mut impl Write) -> Result<(), ProtocolError> {
        send_message(stream, FrameKind::SYMBOLS, self)
    }

    pub(super) fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        receive_message(stream, FrameKind::SYMBOLS)
    }
}
