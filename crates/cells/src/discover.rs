//! Tells cells from look-alikes, and finds out which belong together.
//!
//! A candidate has the words of a header, but so have the leftovers of a cell that was
//! freed or moved. A live task is in the list of its owner: its neighbours lead back to it,
//! and something refers to the ends of the list. A closure on a blocking pool is in the
//! pool's queue, or on the stack of the thread that runs it. A task that has ended but is
//! kept has left its list; it is counted, not listed.

use std::collections::{HashMap, HashSet};

use rtops_image::{Image, Unreadable};

use crate::{
    layout::{HEADER_LINKS, LAYOUTS, Offsets, TRAILER},
    places::Places,
    scan::{self, Candidate, References},
    stacks::Stacks,
    vtable::Vtables,
    words::Words,
};

/// How many candidates are tried to find where their links are.
const LINKS_TRIED: usize = 1000;

/// A cell of tokio's, confirmed to be one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) candidate: Candidate,
    /// The copy of tokio in the program that it belongs to, from 0.
    pub(crate) copy: u32,
    /// tokio's number of it; `None` if its version keeps none in a known place.
    pub(crate) number: Option<u64>,
}

/// All cells of an image.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// The cells of tasks and closures that have not ended.
    pub(crate) alive: Vec<Cell>,
    /// The cells of tasks that have ended, but whose output a join handle keeps.
    pub(crate) kept: Vec<Cell>,
    /// The vtables of tokio's wakers: one for each copy of tokio,
    /// or one for each type of task in versions before 1.23.
    pub(crate) waker_vtables: Vec<u64>,
    /// The number of copies of tokio.
    pub(crate) copies: usize,
    pub(crate) references: References,
}

/// Finds all cells.
///
/// # Errors
/// If mapped memory can't be read.
pub(crate) fn discover<I: Image>(
    image: &I,
    places: &Places,
    stacks: &Stacks,
    vtables: &mut Vtables<'_, I>,
) -> Result<Discovery, Unreadable> {
    let candidates = scan::candidates(image, places, vtables)?;
    let headers: HashSet<u64> = candidates.iter().map(|found| found.header).collect();
    let references = scan::references(image, places, vtables, &headers)?;
    let mut words = Words::of(image);
    let links = Links::of(&mut words, &candidates);
    let lists = links.lists(&candidates, &references);
    let (mut alive, mut kept) = (Vec::new(), Vec::new());
    for candidate in &candidates {
        let number = number(&mut words, candidate);
        let cell = Cell {
            candidate: *candidate,
            copy: 0,
            number,
        };
        if candidate.vtable.number.is_some() && number.is_none() {
            continue;
        }
        let Candidate { header, state, .. } = *candidate;
        let is_alone = links.neighbours(header) == Some([0, 0]);
        if state.is_complete() {
            if state.has_join_handle() && is_alone && !state.is_notified() {
                kept.push(cell);
            }
        } else if candidate.owner != 0 {
            if lists.contains_key(&header) {
                alive.push(cell);
            }
        } else if is_alone && is_closure(&references, stacks, candidate) {
            alive.push(cell);
        }
    }
    let mut found = Discovery {
        alive,
        kept,
        waker_vtables: Vec::new(),
        copies: 0,
        references,
    };
    Copies::of(&found, &lists).tell(&mut found);
    Ok(found)
}

/// Reads tokio's number of a task; `None` if it is 0 or implausibly large.
fn number(words: &mut Words<'_, impl Image>, candidate: &Candidate) -> Option<u64> {
    let offset = candidate.vtable.number?;
    let number = words.at(candidate.header + offset)?;
    (number != 0 && number < crate::layout::LARGEST_NUMBER).then_some(number)
}

/// Whether a cell without an owner is a closure that runs or is queued.
fn is_closure(references: &References, stacks: &Stacks, candidate: &Candidate) -> bool {
    let state = candidate.state;
    if state.is_running() {
        stacks.hold(candidate.header)
    } else {
        state.is_notified() && references.referred.contains(&candidate.header)
    }
}

/// The neighbours of each candidate in the list of its owner, previous and next, and that owner.
struct Links(HashMap<u64, ([u64; 2], u64)>);

/// Reads the neighbours of a cell whose links are at `place` in
/// its trailer, or in its header in old versions.
fn neighbours(
    words: &mut Words<'_, impl Image>,
    found: &Candidate,
    place: u64,
) -> Option<[u64; 2]> {
    let at = found.header + found.vtable.trailer.unwrap_or(0) + place;
    Some([words.at(at)?, words.at(at + 8)?])
}

/// Finds where in a trailer the links are: at the place where most of them lead back, or the first
/// of several equally good ones. The candidates are in address order; of many, only some are tried.
fn place_of_links(words: &mut Words<'_, impl Image>, own: &[&Candidate]) -> u64 {
    let step = own.len() / LINKS_TRIED + 1;
    let mut best = (0, 0);
    for place in (0..TRAILER).step_by(8) {
        let tried = own.iter().step_by(step);
        let mutual = tried.filter(|found| is_mutual(words, own, found, place));
        let mutual = mutual.count();
        if mutual > best.0 {
            best = (mutual, place);
        }
    }
    best.1
}

/// Whether a candidate has a neighbour, and each neighbour leads back.
fn is_mutual(
    words: &mut Words<'_, impl Image>,
    own: &[&Candidate],
    found: &Candidate,
    place: u64,
) -> bool {
    let Some([previous, next]) = neighbours(words, found, place) else {
        return false;
    };
    let mut of = |other: u64| {
        let index = own.binary_search_by_key(&other, |found| found.header);
        neighbours(words, own.get(index.ok()?)?, place)
    };
    let mut leads_back = |other: u64, back: usize| {
        other == 0 || of(other).and_then(|pair| pair.get(back).copied()) == Some(found.header)
    };
    [previous, next] != [0, 0] && leads_back(previous, 1) && leads_back(next, 0)
}

impl Links {
    /// Takes candidates in the order of their addresses.
    fn of(words: &mut Words<'_, impl Image>, candidates: &[Candidate]) -> Self {
        let mut all = HashMap::new();
        for layout in &LAYOUTS {
            let of_layout = |found: &&Candidate| std::ptr::eq(found.vtable.layout, layout);
            let own: Vec<&Candidate> = candidates.iter().filter(of_layout).collect();
            let place = match layout.offsets {
                Offsets::None => HEADER_LINKS,
                Offsets::Trailer | Offsets::All => place_of_links(words, &own),
            };
            all.extend(own.iter().filter_map(|found| {
                let neighbours = neighbours(words, found, place)?;
                Some((found.header, (neighbours, found.owner)))
            }));
        }
        Self(all)
    }

    fn neighbours(&self, header: u64) -> Option<[u64; 2]> {
        self.0.get(&header).map(|(neighbours, _)| *neighbours)
    }

    fn lead_back(&self, header: u64, [previous, next]: [u64; 2]) -> bool {
        let after = |cell| self.neighbours(cell).map(|[_, next]| next);
        let before = |cell| self.neighbours(cell).map(|[previous, _]| previous);
        (previous == 0 || after(previous) == Some(header))
            && (next == 0 || before(next) == Some(header))
    }

    /// Returns the cells that are in a list, each with the first cell of its list.
    fn lists(&self, candidates: &[Candidate], references: &References) -> HashMap<u64, u64> {
        let mut lists = HashMap::new();
        let first = |found: &&Candidate| {
            found.owner != 0
                && !found.state.is_complete()
                && self
                    .neighbours(found.header)
                    .is_some_and(|[previous, _]| previous == 0)
        };
        for candidate in candidates.iter().filter(first) {
            let mut chain = vec![candidate.header];
            let mut last = candidate.header;
            let is_whole = loop {
                let Some((pair, owner)) = self.0.get(&last).copied() else {
                    break false;
                };
                if owner != candidate.owner
                    || !self.lead_back(last, pair)
                    || chain.len() > candidates.len()
                {
                    break false;
                }
                match pair {
                    [_, 0] => break true,
                    [_, next] => last = next,
                }
                chain.push(last);
            };

            let is_listed = |ends| references.pairs.contains(&ends);
            let ends = (candidate.header, last);
            if is_whole && (is_listed(ends) || is_listed((ends.1, ends.0))) {
                lists.extend(chain.into_iter().map(|cell| (cell, candidate.header)));
            }
        }
        lists
    }
}

/// Assigns cells to copies of tokio: the cells of a list belong to one copy, and so do
/// cells with the same wakers.
struct Copies {
    /// The vtable of the wakers that most often lead to cells of a kind.
    waker_of: HashMap<Kind, u64>,
    kinds: HashMap<u64, Kind>,
}

/// Cells that are known to have the same wakers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    /// The cells of a list, by its first one: all tasks of a copy of tokio have the same wakers.
    List(u64),
    /// The cells of a type that are in no list.
    Type(u64),
    /// The cells of a type, in a version with separate wakers for each type.
    Old(u64),
}

impl Kind {
    fn of(candidate: &Candidate, lists: &HashMap<u64, u64>) -> Self {
        match lists.get(&candidate.header) {
            _ if candidate.vtable.number.is_none() => Self::Old(candidate.vtable_address),
            Some(first) => Self::List(*first),
            None => Self::Type(candidate.vtable_address),
        }
    }
}

impl Copies {
    fn of(found: &Discovery, lists: &HashMap<u64, u64>) -> Self {
        let cells = found.alive.iter().chain(&found.kept);
        let kinds: HashMap<u64, Kind> = cells
            .map(|cell| (cell.candidate.header, Kind::of(&cell.candidate, lists)))
            .collect();
        let mut votes: HashMap<Kind, HashMap<u64, u32>> = HashMap::new();
        for ((header, vtable), count) in &found.references.wakers {
            if let Some(kind) = kinds.get(header) {
                *votes.entry(*kind).or_default().entry(*vtable).or_default() += count;
            }
        }
        let mut all: HashMap<u64, u32> = HashMap::new();
        for (vtable, count) in votes.values().flatten() {
            *all.entry(*vtable).or_default() += count;
        }
        let most = |votes: HashMap<u64, u32>| {
            // A word next to a pointer to a task may look like a vtable. The most frequent one is
            // real; a tie goes to the one that is most frequent overall.
            let votes = votes.into_iter();
            let votes = votes.map(|(vtable, count)| (count, all.get(&vtable), vtable));
            votes.max().map(|(.., vtable)| vtable)
        };
        let mut waker_of: HashMap<Kind, u64> = votes
            .into_iter()
            .filter_map(|(kind, votes)| Some((kind, most(votes)?)))
            .collect();
        // Few words refer to a cell that is in no list, and what is next to them may be no vtable.
        let of_lists = waker_of.iter();
        let of_lists = of_lists.filter(|(kind, _)| matches!(kind, Kind::List(_)));
        let of_lists: HashSet<u64> = of_lists.map(|(_, vtable)| *vtable).collect();
        waker_of.retain(|kind, vtable| {
            !matches!(kind, Kind::Type(_)) || of_lists.is_empty() || of_lists.contains(vtable)
        });
        Self { waker_of, kinds }
    }

    /// Numbers the copies by their wakers. A cell without wakers belongs
    /// to the first copy if that is the only one. All cells of old
    /// versions are taken for one copy: several can't be told apart.
    fn tell(self, found: &mut Discovery) {
        let of_copies = self.waker_of.iter();
        let of_copies = of_copies.filter(|(kind, _)| !matches!(kind, Kind::Old(_)));
        let mut vtables: Vec<u64> = of_copies.map(|(_, vtable)| *vtable).collect();
        vtables.sort_unstable();
        vtables.dedup();
        let rest = if vtables.len() == 1 { 0 } else { vtables.len() };
        let mut copies = vtables.len();
        for cell in found.alive.iter_mut().chain(&mut found.kept) {
            let kind = self.kinds.get(&cell.candidate.header);
            let waker = kind.and_then(|kind| self.waker_of.get(kind));
            let copy = waker.and_then(|waker| vtables.binary_search(waker).ok());
            let copy = copy.unwrap_or(match kind {
                Some(Kind::Old(_)) => vtables.len(),
                _ => rest,
            });
            copies = copies.max(copy + 1);
            cell.copy = u32::try_from(copy).unwrap_or(u32::MAX);
        }
        found.copies = copies;
        found.waker_vtables = self.waker_of.into_values().collect();
        found.waker_vtables.sort_unstable();
        found.waker_vtables.dedup();
    }
}
