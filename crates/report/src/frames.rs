//! Resolves the stacks of a dump to frames with names, keeping each distinct frame once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use regex::Regex;
use rtops_protocol::{SourceLocation, StackId, StringId, TaskKind};
use rtops_symbols::{Address, FrameClass, Name, Serving, Symbols, WaitReason};

use crate::{
    dump::Dump,
    frame::{Frame, FrameId, FrameKind, Link, Mark},
    future::Future,
    own,
    task::{Polls, Task, Tracked},
};

/// Which frames to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// Only those that mean something to a reader who knows the service.
    Folded,
    /// All of them.
    All,
}

/// The frames of the requested stacks.
#[derive(Debug)]
pub struct Frames {
    frames: Vec<Frame>,
    /// Innermost first.
    stacks: HashMap<StackId, Vec<Link>>,
    /// The frames at each instruction of the stepped polls, innermost first.
    code: HashMap<u64, Vec<FrameId>>,
    /// Maps the innermost of these to the same frame without its place.
    placeless: HashMap<FrameId, FrameId>,
    spans: HashMap<(StringId, SourceLocation), FrameId>,
    /// The futures of untracked tasks, by the functions that poll them.
    pub(crate) futures: HashMap<Polls, Future>,
    /// The start of the function at each address.
    starts: HashMap<u64, u64>,
    /// The target's own crates that occur in the frames.
    own_crates: HashSet<String>,
    shown: Shown,
}

impl Frames {
    /// Resolves the given stacks of a dump, its stepped polls and the futures of its tasks,
    /// looking up each distinct address once.
    pub(crate) fn look_up(
        dump: &Dump,
        used: &HashSet<StackId>,
        symbols: &mut Symbols,
        shown: Shown,
    ) -> Self {
        let mut addresses = HashSet::new();
        for stack in used {
            addresses.extend(dump.stack(*stack).iter().enumerate().map(address));
        }
        let visits = dump.traces.iter().flat_map(|trace| &trace.visits);
        let visited: HashSet<u64> = visits.map(|visit| visit.ip).collect();
        addresses.extend(visited.iter().map(|ip| Address::InstructionPointer(*ip)));
        let untracked = dump.tasks.iter().filter_map(Task::untracked);
        let polls = untracked.map(|untracked| untracked.polls);
        let polls: HashSet<Polls> = polls.chain(dump.kept.keys().copied()).collect();
        let boxed = polls.iter().filter_map(|polls| polls.boxed);
        let boxed = boxed.map(Address::InstructionPointer);
        // In one call, because the lookup may happen in another process.
        let looked_up = symbols.look_up(
            addresses.iter().copied().chain(boxed),
            polls.iter().map(|polls| polls.poll),
        );
        let resolved = || {
            let resolved = |address| Some((address, looked_up.resolved.get(address)?));
            addresses.iter().filter_map(resolved)
        };
        let mut interner = Interner::default();
        let mut shared: HashMap<*const _, FrameId> = HashMap::new();
        let known: HashMap<Address, Vec<FrameId>> = resolved()
            .map(|(address, resolved)| {
                let frames = resolved.frames.iter();
                let ids = frames.map(|frame| {
                    let intern = || interner.frame(frame);
                    *shared.entry(Arc::as_ptr(frame)).or_insert_with(intern)
                });
                (*address, ids.collect())
            })
            .collect();
        let stacks = used.iter().map(|stack| {
            let links = dump.stack(*stack).iter().enumerate().flat_map(|entry| {
                let frames = known.get(&address(entry)).map_or(&[][..], Vec::as_slice);
                frames.iter().map(move |frame| Link {
                    frame: *frame,
                    address: *entry.1,
                })
            });
            (*stack, links.collect())
        });
        let stacks = stacks.collect();
        let code: HashMap<u64, Vec<FrameId>> = visited
            .into_iter()
            .filter_map(|ip| Some((ip, known.get(&Address::InstructionPointer(ip))?.clone())))
            .collect();
        let innermost = code.values().filter_map(|frames| frames.first());
        let placeless = innermost.map(|frame| (*frame, interner.without_place(*frame)));
        let placeless = placeless.collect();
        let futures = polls.into_iter();
        let futures = futures
            .map(|polls| (polls, Future::of(polls, &looked_up)))
            .collect();
        let starts =
            resolved().filter_map(|(address, resolved)| Some((address.get(), resolved.start?)));
        let starts = starts.collect();
        let spans = interner.spans(dump);
        Self {
            stacks,
            futures,
            starts,
            code,
            placeless,
            spans,
            own_crates: own::crates(&interner.frames),
            frames: interner.frames,
            shown,
        }
    }

    /// Returns the frame that stands for a span.
    pub fn span(&self, span: &Task) -> Option<FrameId> {
        let span = span.tracked()?;
        self.spans.get(&(span.name, span.site)).copied()
    }

    /// Returns the future of an untracked task that these functions poll.
    pub fn future(&self, polls: Polls) -> Option<&Future> {
        self.futures.get(&polls)
    }

    /// Returns the frame with this number.
    pub fn get(&self, id: FrameId) -> Option<&Frame> {
        self.frames.get(id.0)
    }

    /// Iterates over all frames, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// Returns the start in memory of the function that contains this address of a stack, if known.
    pub fn function_start(&self, address: u64) -> Option<u64> {
        self.starts.get(&address).copied()
    }

    /// Iterates over the frames of these links.
    pub fn of_links<'f>(
        &'f self,
        links: &[Link],
    ) -> impl DoubleEndedIterator<Item = &'f Frame> + Clone {
        links.iter().filter_map(|link| self.get(link.frame))
    }

    /// Returns all frames of a stack, innermost first.
    pub fn stack(&self, id: StackId) -> &[Link] {
        self.stacks.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Returns the frames at an instruction of a stepped poll, innermost first.
    pub fn at(&self, ip: u64) -> &[FrameId] {
        self.code.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// Returns the innermost frame at such an instruction without its place in the source.
    pub fn without_place(&self, frame: FrameId) -> FrameId {
        self.placeless.get(&frame).copied().unwrap_or(frame)
    }

    /// Whether the frame of a link is an own frame or a span.
    #[must_use]
    pub fn is_own(&self, link: &Link) -> bool {
        self.get(link.frame).is_some_and(|frame| frame.own)
    }

    /// Whether a frame adds nothing next to others: it is in the C library, through which every
    /// stack goes, or a library's macro expanded to it in own code.
    #[must_use]
    pub fn is_glue(&self, link: &Link) -> bool {
        self.get(link.frame).is_some_and(|frame| {
            let is_of_macro = !frame.own
                && frame
                    .crate_name()
                    .is_some_and(|name| self.own_crates.contains(name));
            is_of_macro || rtops_symbols::is_c_library(&frame.module)
        })
    }

    /// Returns the innermost own frame that has a place.
    pub fn innermost_own(&self, links: &[Link]) -> Option<&Frame> {
        let has_place = |frame: &&Frame| frame.own && frame.place.is_some();
        self.of_links(links).find(has_place)
    }

    /// Returns the file and line of the innermost own frame that has a place, or else of any frame.
    pub fn own_place(&self, links: &[Link]) -> Option<String> {
        let places = || {
            self.of_links(links)
                .filter_map(|frame| frame.place.as_ref())
        };
        let own = self
            .innermost_own(links)
            .and_then(|frame| frame.place.as_ref());
        let place = own.or_else(|| places().next())?;
        Some(place.line_of_file())
    }

    /// Makes the frames whose function or file matches the target's own, and no others.
    pub fn set_own(&mut self, own: &Regex) {
        for frame in &mut self.frames {
            let file = frame.place.as_ref().map_or("", |place| &place.file);
            let texts = [&*frame.function, &*frame.name, file];
            frame.own =
                frame.kind == FrameKind::Span || texts.into_iter().any(|text| own.is_match(text));
        }
        self.own_crates = own::crates(&self.frames);
    }

    /// Whether frames that mean little to a reader who knows the service are left out.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.shown == Shown::Folded
    }

    /// Returns the frames to show of a stack or part of one, with its spans, innermost first.
    pub fn visible(&self, links: &[Link], marks: &[Mark]) -> Vec<Link> {
        let shown = match self.shown {
            Shown::All => (0..links.len()).collect(),
            Shown::Folded => rtops_symbols::visible(&self.names(links)),
        };
        let mut marks = marks.to_vec();
        marks.sort_unstable_by_key(|mark| mark.length);
        let mut marks = marks.into_iter().peekable();
        let mut visible = Vec::with_capacity(shown.len() + marks.len());
        let span = |mark: Mark| Link {
            frame: mark.frame,
            address: 0,
        };
        for index in shown {
            while let Some(mark) = marks.next_if(|mark| mark.length <= index) {
                visible.push(span(mark));
            }
            visible.extend(links.get(index));
        }
        visible.extend(marks.map(span));
        visible
    }

    /// Whether the function or file of any of these frames matches.
    pub fn matches(&self, filter: &Regex, links: &[Link]) -> bool {
        self.of_links(links).any(|frame| {
            let file = frame.place.as_ref().map_or("", |place| &place.file);
            let texts = [&frame.function, &frame.name, file];
            texts.into_iter().any(|text| filter.is_match(text))
        })
    }

    /// Returns what a task that waits at the innermost of these frames waits for, if known.
    pub fn task_wait(&self, links: &[Link]) -> Option<WaitReason> {
        known(rtops_symbols::task_wait(&self.names(links)))
    }

    /// Returns what a server does for a request at the innermost of these frames, if anything.
    pub(crate) fn serving(&self, links: &[Link]) -> Option<Serving> {
        rtops_symbols::serving(&self.names(links))
    }

    /// Whether any of these frames has a known place in the source.
    pub(crate) fn have_places(&self, links: &[Link]) -> bool {
        self.of_links(links).any(|frame| frame.place.is_some())
    }

    /// Whether the innermost of these frames registered the waker of a container's child.
    pub(crate) fn is_child(&self, links: &[Link]) -> bool {
        rtops_symbols::is_child(&self.names(links))
    }

    /// Returns what a thread does, if known.
    pub fn thread_wait(
        &self,
        links: &[Link],
        state: Option<char>,
        syscall: Option<i64>,
    ) -> Option<WaitReason> {
        known(rtops_symbols::thread_wait(
            &self.names(links),
            state,
            syscall,
        ))
    }

    /// Whether what a thread does is known from function names alone: none of the functions
    /// compiled with the program has a line. The standard library brings its own lines, and those
    /// of the C library are not read.
    pub(crate) fn is_approximate(
        &self,
        links: &[Link],
        state: Option<char>,
        syscall: Option<i64>,
    ) -> bool {
        let by_names = self.thread_wait(links, state, syscall);
        let is_built = |frame: &&Frame| {
            frame.function.contains("::") && frame.known.class() != FrameClass::Std
        };
        let mut built = self.of_links(links).filter(is_built).peekable();
        by_names.is_some()
            && by_names != self.thread_wait(&[], state, syscall)
            && built.peek().is_some()
            && built.all(|frame| frame.place.is_none())
    }

    /// Returns the positions of the polls of tracked futures in a thread's stack, outermost first:
    /// for each poll, the position of its innermost frame.
    pub fn tracked_polls(&self, links: &[Link]) -> Vec<usize> {
        let mut polls = Vec::new();
        let mut is_inside = false;
        for (index, link) in links.iter().enumerate() {
            let name = self.get(link.frame).map_or("", |frame| &frame.name);
            let is_tracked = name.starts_with("rtops_tasks::");
            if is_tracked && !is_inside {
                polls.push(index);
            }
            // A tracked poll may come directly inside another one.
            is_inside = is_tracked && name != "rtops_tasks::tracked::Tracked::poll";
        }
        polls.reverse();
        polls
    }

    /// Returns what the rules know from the names of these frames.
    fn names(&self, links: &[Link]) -> Vec<&Name> {
        self.of_links(links).map(|frame| &*frame.known).collect()
    }
}

fn known(wait: WaitReason) -> Option<WaitReason> {
    Some(wait).filter(|wait| *wait != WaitReason::Unknown)
}

/// The first entry of a stack is an instruction pointer, the others are return addresses.
fn address((index, address): (usize, &u64)) -> Address {
    if index == 0 {
        Address::InstructionPointer(*address)
    } else {
        Address::ReturnAddress(*address)
    }
}

#[derive(Default)]
struct Interner {
    frames: Vec<Frame>,
    numbers: HashMap<Frame, FrameId>,
}

impl Interner {
    fn frame(&mut self, frame: &rtops_symbols::Symbol) -> FrameId {
        let function = frame.function.to_string();
        let known = Arc::clone(&frame.known);
        let place = frame.place.clone();
        self.intern(Frame {
            own: own::is_own(&function, &known, place.as_ref(), &frame.module),
            kind: FrameKind::Code,
            function,
            name: known.display().to_owned(),
            known,
            place,
            module: frame.module.clone(),
        })
    }

    fn spans(&mut self, dump: &Dump) -> HashMap<(StringId, SourceLocation), FrameId> {
        let spans = dump.tasks.iter().filter(|task| task.kind == TaskKind::Span);
        let spans = spans.filter_map(Task::tracked);
        spans
            .map(|span| ((span.name, span.site), self.span(dump, span)))
            .collect()
    }

    fn span(&mut self, dump: &Dump, span: &Tracked) -> FrameId {
        let name = dump.string(span.name).unwrap_or_default().to_owned();
        self.intern(Frame {
            kind: FrameKind::Span,
            known: Arc::new(Name::of(&name)),
            function: name.clone(),
            name,
            place: dump.place(span.site),
            module: String::new(),
            own: true,
        })
    }

    fn without_place(&mut self, id: FrameId) -> FrameId {
        let frame = self.frames.get(id.0).cloned();
        frame.map_or(id, |frame| {
            self.intern(Frame {
                place: None,
                ..frame
            })
        })
    }

    fn intern(&mut self, frame: Frame) -> FrameId {
        if let Some(id) = self.numbers.get(&frame) {
            return *id;
        }
        let id = FrameId(self.frames.len());
        self.frames.push(frame.clone());
        self.numbers.insert(frame, id);
        id
    }
}

#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
#[cfg(test)]
mod tests;
