//! A file of the cache: a head with a checksum, and behind it what was asked and what was told.

use std::io::{self, Read};

use rtops_protocol::{FrameKind, ProtocolError, receive_message, send_message};

use super::{Key, Known};
use crate::{
    ask::Answer,
    child::{Answers, Question, Teller},
};

/// To be changed with what follows it.
const MAGIC: [u8; 8] = *b"rtopsS01";
/// The magic, the checksum of the rest, and its length.
const HEAD: usize = 8 + 4 + 4;
/// The longest file of the cache.
pub(super) const MAX_ENTRY: u64 = 16 << 20;

/// What is written to the file.
pub(super) fn encode(key: &Key, known: &Known) -> Result<Vec<u8>, ProtocolError> {
    let mut body = Vec::new();
    send_message(&mut body, FrameKind::SYMBOLS, key)?;
    let mut addresses: Vec<u64> = known.found.keys().copied().collect();
    addresses.sort_unstable();
    let mut polls: Vec<u64> = known.pollers.keys().copied().collect();
    polls.sort_unstable();
    Question::send_addresses(&addresses, &polls, &mut body)?;
    Question::Go.send(&mut body)?;
    let mut teller = Teller::new(&mut body);
    let found = addresses
        .iter()
        .filter_map(|address| known.found.get(address).cloned());
    teller.tell_found(found)?;
    let pollers = polls
        .iter()
        .filter_map(|poll| known.pollers.get(poll).cloned());
    teller.tell_pollers(pollers)?;
    teller.tell_facts(known.facts.clone())?;
    teller.end()?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut entry = Vec::with_capacity(HEAD + body.len());
    entry.extend(MAGIC);
    entry.extend(crc32fast::hash(&body).to_le_bytes());
    entry.extend(length.to_le_bytes());
    entry.extend(body);
    Ok(entry)
}

/// What is known by the file, if it is of this key and undamaged.
pub(super) fn decode(key: &Key, entry: &mut impl Read) -> Option<Known> {
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
    let (addresses, polls) = Question::receive_addresses(&mut body).ok()?;
    let mut answers = Answers::of([(addresses.len(), polls.len())]);
    answers.receive(&mut body).ok()?;
    let Answer {
        found,
        pollers,
        facts,
    } = answers.into_given().pop()?;
    let is_whole = found.len() == addresses.len() && pollers.len() == polls.len();
    is_whole.then_some(Known {
        found: addresses.into_iter().zip(found).collect(),
        pollers: polls.into_iter().zip(pollers).collect(),
        facts: facts?,
    })
}
