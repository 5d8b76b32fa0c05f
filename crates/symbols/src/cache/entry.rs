//! A file of the cache: a header with a checksum, then the key and what is kept for it.

use std::io::{self, Read};

use rtops_elf::{UnitClaim, UnitRoot, Units};
use rtops_protocol::{FrameKind, ProtocolError, receive_message, send_message};
use serde::{Deserialize, Serialize};

use rtops_types::Svma;

use super::{Key, Known};
use crate::{
    ask::Answer,
    child::{Answers, Question, Teller},
};

/// Change this whenever the format after it changes.
const MAGIC: [u8; 8] = *b"rtopsS02";
/// The size of the magic, the checksum of the rest, and its length.
const HEAD: usize = 8 + 4 + 4;
/// The longest file of the cache, in bytes.
pub(super) const MAX_ENTRY: u64 = 16 << 20;
/// The most units, and the most address ranges, in one message.
const MAX_UNITS: usize = 1 << 9;
const MAX_CLAIMS: usize = 1 << 14;

/// What is kept about a module in a file of its own.
pub(super) trait Kept: Sized {
    /// The end of the file's name.
    const SUFFIX: &'static str;

    fn send(&self, body: &mut Vec<u8>) -> Result<(), ProtocolError>;

    fn receive(body: &mut &[u8]) -> Option<Self>;
}

/// Returns the content of the file.
pub(super) fn encode(key: &Key, kept: &impl Kept) -> Result<Vec<u8>, ProtocolError> {
    let mut body = Vec::new();
    send_message(&mut body, FrameKind::SYMBOLS, key)?;
    kept.send(&mut body)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut entry = Vec::with_capacity(HEAD + body.len());
    entry.extend(MAGIC);
    entry.extend(crc32fast::hash(&body).to_le_bytes());
    entry.extend(length.to_le_bytes());
    entry.extend(body);
    Ok(entry)
}

/// Returns what the file keeps, if it is for this key and undamaged.
pub(super) fn decode<T: Kept>(key: &Key, entry: &mut impl Read) -> Option<T> {
    let (mut magic, mut sum, mut length) = ([0; 8], [0; 4], [0; 4]);
    entry.read_exact(&mut magic).ok()?;
    entry.read_exact(&mut sum).ok()?;
    entry.read_exact(&mut length).ok()?;
    let length = u64::from(u32::from_le_bytes(length));
    if magic != MAGIC || length > MAX_ENTRY {
        return None;
    }
    let mut body = Vec::new();
    entry.take(length + 1).read_to_end(&mut body).ok()?;
    if body.len() as u64 != length || crc32fast::hash(&body) != u32::from_le_bytes(sum) {
        return None;
    }
    let mut body = body.as_slice();
    let of: Key = receive_message(&mut body, FrameKind::SYMBOLS).ok()?;
    if of != *key {
        return None;
    }
    T::receive(&mut body)
}

/// Questions and answers, in the form of the messages that are exchanged.
impl Kept for Known {
    const SUFFIX: &'static str = "";

    fn send(&self, body: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let mut addresses: Vec<Svma> = self.found.keys().copied().collect();
        addresses.sort_unstable();
        let mut polls: Vec<Svma> = self.pollers.keys().copied().collect();
        polls.sort_unstable();
        Question::send_addresses(&addresses, &polls, body)?;
        Question::Go.send(body)?;
        let mut teller = Teller::new(body);
        let found = addresses
            .iter()
            .filter_map(|address| self.found.get(address).cloned());
        teller.tell_found(found)?;
        let pollers = polls
            .iter()
            .filter_map(|poll| self.pollers.get(poll).cloned());
        teller.tell_pollers(pollers)?;
        teller.tell_facts(self.facts.clone())?;
        teller.end()
    }

    fn receive(body: &mut &[u8]) -> Option<Self> {
        let (addresses, polls) = Question::receive_addresses(body).ok()?;
        let mut answers = Answers::of([(addresses.len(), polls.len())]);
        answers.receive(body).ok()?;
        let Answer {
            found,
            pollers,
            facts,
        } = answers.into_given().pop()?;
        let is_whole = found.len() == addresses.len() && pollers.len() == polls.len();
        is_whole.then_some(Self {
            found: addresses.into_iter().zip(found).collect(),
            pollers: polls.into_iter().zip(pollers).collect(),
            facts: facts?,
        })
    }
}

/// Part of the units of a file.
#[derive(Deserialize, Serialize)]
enum Piece {
    Units(Vec<UnitRoot>),
    Claims(Vec<UnitClaim>),
    End,
}

impl Kept for Units {
    const SUFFIX: &'static str = "-units";

    fn send(&self, body: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let (units, claims) = self.parts();
        let units = units.chunks(MAX_UNITS);
        let units = units.map(|units| Piece::Units(units.to_vec()));
        let claims = claims.chunks(MAX_CLAIMS);
        let claims = claims.map(|claims| Piece::Claims(claims.to_vec()));
        for piece in units.chain(claims).chain([Piece::End]) {
            send_message(body, FrameKind::SYMBOLS, &piece)?;
        }
        Ok(())
    }

    fn receive(body: &mut &[u8]) -> Option<Self> {
        let (mut units, mut claims) = (Vec::new(), Vec::new());
        loop {
            match receive_message(body, FrameKind::SYMBOLS).ok()? {
                Piece::Units(more) => units.extend(more),
                Piece::Claims(more) => claims.extend(more),
                Piece::End => return Some(Self::of(units, claims)),
            }
        }
    }
}
