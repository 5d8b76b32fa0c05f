//! What becomes of a thing when the future of someone who has it is dropped, in the interpreter.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{Party, Thing, What, queues::Queue};
use crate::{
    State, Survey,
    machine::Machine,
    poll::{Ended, Poller},
    polls::Polls,
};

/// The most instructions of all trials together.
const BUDGET: u64 = 2_000_000;
/// How many of those who have a thing are tried.
const MOST_EACH: usize = 64;
/// How much is copied of a node, and how far before it that begins.
const NODE_WORDS: usize = 24;
const NODE_BEFORE: u64 = 64;

/// What is known of a thing after the trials.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    /// With whom gone the first waiter goes on.
    pub(super) holders: BTreeSet<Party>,
    /// How many references those have who were tried to the end.
    pub(super) references: BTreeMap<Party, u64>,
    /// Whether these are all that are counted.
    pub(super) has_all_references: bool,
}

/// Tries those who have something that others may wait for.
pub(super) fn of(
    polls: &Polls<'_>,
    survey: &Survey,
    things: &[Thing],
    until: Option<Instant>,
) -> Vec<Tried> {
    let mut tried = vec![Tried::default(); things.len()];
    let mut who: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, thing) in things.iter().enumerate() {
        // Whether one of many waiters holds it can't be told without trying all.
        let others = thing.having.iter();
        let mut parties: Vec<&Party> = others.collect();
        parties.sort_by_key(|party| thing.waiters.contains(party));
        for party in parties.into_iter().take(MOST_EACH) {
            if let Party::Task { cell } = party {
                who.entry(*cell).or_default().push(index);
            }
        }
    }
    let mut poller = Poller::as_it_is(polls.interpreter(), polls);
    let begin = poller.recorder.count;
    for (header, indices) in who {
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        if is_late || poller.recorder.count - begin > BUDGET {
            break;
        }
        let cells = &polls.cells;
        let Ok(place) = cells.binary_search_by_key(&header, |cell| cell.candidate.header) else {
            continue;
        };
        let state = survey.tasks.get(place).map(|task| task.state);
        let is_running = match state {
            Some(State::Idle | State::Woken) => false,
            Some(State::Running { .. }) => true,
            _ => continue,
        };
        let of_it: Vec<(usize, &Thing)> = indices
            .iter()
            .filter_map(|index| Some((*index, things.get(*index)?)))
            .collect();
        let party = Party::Task { cell: header };
        for (index, seen) in drop_one(&mut poller, place, &of_it) {
            let Some(tried) = tried.get_mut(index) else {
                continue;
            };
            // What a task has that runs is where its future was when it was polled last.
            if seen.goes_on && !is_running {
                tried.holders.insert(party);
            }
            if let Some(references) = seen.references.filter(|count| *count > 0 || !is_running) {
                tried.references.insert(party, references);
            }
        }
    }
    for (tried, thing) in tried.iter_mut().zip(things) {
        let all = thing.arc.and_then(|arc| poller.word(arc));
        let found: u64 = tried.references.values().sum();
        tried.has_all_references = all.is_some_and(|all| all == found);
    }
    tried
}

/// What became of a thing.
struct Seen {
    /// Whether the first waiter goes on.
    goes_on: bool,
    /// How many references were dropped, if the future was dropped to the end.
    references: Option<u64>,
}

/// A thing before a future is dropped.
struct Before<'a> {
    thing: &'a Thing,
    /// One more waiter in its list, and the words of it that change when it goes on.
    decoy: Option<(u64, Vec<u64>)>,
    slot: Option<[u64; 2]>,
    lock: Option<u8>,
    references: Option<u64>,
}

/// Drops the future of the task at this place, and tells what became of the things.
fn drop_one<M: Machine>(
    poller: &mut Poller<'_, M>,
    place: usize,
    things: &[(usize, &Thing)],
) -> Vec<(usize, Seen)> {
    let mut before = Vec::new();
    for (number, (index, thing)) in things.iter().enumerate() {
        before.push((*index, prepare(poller, thing, number)));
    }
    let (ended, woken) = poller.drop_future(place);
    let is_whole = ended == Ended::Pending;
    let seen = before.into_iter().map(|(index, before)| {
        let after = before.thing.arc.and_then(|arc| poller.word(arc));
        let references = before.references.zip(after);
        let references = references.and_then(|(before, after)| before.checked_sub(after));
        let goes_on = goes_on(poller, &before, &woken, references);
        let references = references.filter(|_| is_whole);
        (
            index,
            Seen {
                goes_on,
                references,
            },
        )
    });
    let seen = seen.collect();
    poller.revert();
    seen
}

fn prepare<'a, M: Machine>(
    poller: &mut Poller<'_, M>,
    thing: &'a Thing,
    number: usize,
) -> Before<'a> {
    // Whoever drops the last reference would free it.
    let references = thing.arc.and_then(|arc| {
        let counted = poller.word(arc)?.checked_add(1)?;
        poller.set_word(arc, counted)?;
        Some(counted)
    });
    let mut before = Before {
        thing,
        decoy: None,
        slot: None,
        lock: None,
        references,
    };
    match &thing.what {
        What::Queue(queue) => before.decoy = add_decoy(poller, queue, number),
        What::Slot(at) => before.slot = slot(poller, *at),
        What::Lock(lock) => before.lock = byte(poller, *lock),
    }
    before
}

fn goes_on<M: Machine>(
    poller: &mut Poller<'_, M>,
    before: &Before<'_>,
    woken: &[u64],
    references: Option<u64>,
) -> bool {
    match &before.thing.what {
        What::Queue(queue) => before.decoy.as_ref().is_some_and(|(decoy, words)| {
            decoy_words(poller, queue, *decoy).as_ref() != Some(words)
        }),
        What::Slot(at) => {
            let waits = before.thing.waiters.iter().any(|party| match party {
                Party::Task { cell } => woken.contains(cell),
                _ => false,
            });
            slot(poller, *at) != before.slot || waits && references.is_some_and(|count| count > 0)
        }
        What::Lock(lock) => byte(poller, *lock) != before.lock,
    }
}

/// Puts one more node into a list, behind which there is nobody: a copy of the one that was first.
fn add_decoy<M: Machine>(
    poller: &mut Poller<'_, M>,
    queue: &Queue,
    number: usize,
) -> Option<(u64, Vec<u64>)> {
    let links = queue.links?;
    let first = *queue.nodes.first()?;
    let from = first.checked_sub(NODE_BEFORE)?;
    let to = poller.scratch(number, NODE_WORDS)?;
    for offset in (0..NODE_WORDS as u64 * 8).step_by(8) {
        // What can't be read is behind the node.
        let word = poller.word(from + offset).unwrap_or(0);
        poller.set_word(to + offset, word)?;
    }
    let decoy = to + NODE_BEFORE;
    poller.set_word(decoy + links, first)?;
    poller.set_word(decoy + links + 8, 0)?;
    poller.set_word(first + links + 8, decoy)?;
    poller.set_word(queue.list + 8, decoy)?;
    let words = decoy_words(poller, queue, decoy)?;
    Some((decoy, words))
}

/// The words of a node, and of what is around it, without its links.
fn decoy_words<M: Machine>(
    poller: &mut Poller<'_, M>,
    queue: &Queue,
    decoy: u64,
) -> Option<Vec<u64>> {
    let links = queue.links?;
    let begin = decoy - NODE_BEFORE;
    let places = (begin..begin + NODE_WORDS as u64 * 8).step_by(8);
    let mut places = places.filter(|at| !(decoy + links..decoy + links + 16).contains(at));
    places.try_fold(Vec::new(), |mut words, at| {
        words.push(poller.word(at)?);
        Some(words)
    })
}

fn slot<M: Machine>(poller: &mut Poller<'_, M>, at: u64) -> Option<[u64; 2]> {
    Some([poller.word(at)?, poller.word(at + 8)?])
}

fn byte<M: Machine>(poller: &mut Poller<'_, M>, at: u64) -> Option<u8> {
    let index = usize::try_from(at & 7).ok()?;
    poller.word(at & !7)?.to_le_bytes().get(index).copied()
}
