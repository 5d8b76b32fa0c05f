//! Decides which tasks are counted together, and makes the calls for each place where they wait.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use rtops_protocol::TaskKind;
use rtops_report::{
    escape::escape,
    frame::{Frame, FrameId, FrameKind},
    frames::Frames,
    group::{TaskGroup, group_tasks},
    selection::{Grouping, Selection},
    task::{State, Task},
    threads::stacks_of_threads,
    tree::Chain,
    words,
};
use rtops_symbols::{Place, WaitReason, display_type};

use super::Profile;

/// Tasks that look the same and run on the same runtime, or spans shown on their own.
pub(super) struct Sample<'a> {
    pub(super) tasks: Vec<&'a Task>,
    pub(super) kind: TaskKind,
    pub(super) name: Option<&'a str>,
    /// The text in Go's brackets: it contains no comma and no bracket.
    pub(super) state: String,
    pub(super) runtime: Option<&'a str>,
    pub(super) site: Option<Place>,
    /// One path for each place where they wait; at least one.
    pub(super) ways: Vec<Way<'a>>,
}

impl Sample<'_> {
    /// Returns the labels of its tasks, with the wait of one of its paths. The
    /// texts are not escaped.
    pub(super) fn labels(&self, wait: Option<&str>) -> Vec<(&'static str, String)> {
        let kind = Some(self.kind).filter(|kind| *kind != TaskKind::Task);
        let labels = [
            ("kind", kind.map(|kind| words::kind(kind).to_owned())),
            ("name", self.name.map(str::to_owned)),
            ("runtime", self.runtime.map(str::to_owned)),
            ("spawned_at", self.site.as_ref().map(Place::to_string)),
            ("state", Some(self.state.clone())),
            ("wait", wait.map(str::to_owned)),
        ];
        let labels = labels.into_iter();
        labels
            .filter_map(|(key, text)| Some((key, text?)))
            .collect()
    }
}

/// One path from where a task waits to its root.
#[derive(Clone)]
pub(super) struct Way<'a> {
    /// Innermost first, at least one.
    pub(super) calls: Vec<Call<'a>>,
    /// What the task waits for at the end of the path.
    pub(super) wait: Option<&'static str>,
}

/// A call with everything inlined there, or an entry without code that stands for one.
#[derive(Clone)]
pub(super) struct Call<'a> {
    /// An address inside the instruction that calls or runs; 0 without code.
    pub(super) address: u64,
    /// The distance from the start of the function; 0 if unknown.
    pub(super) offset: u64,
    /// Innermost inlined function first; at least one.
    pub(super) lines: Vec<Line<'a>>,
}

/// A function and a place in it. The texts are escaped for a terminal.
#[derive(Clone)]
pub(super) struct Line<'a> {
    /// The short name.
    pub(super) name: Cow<'a, str>,
    /// The name with all generic arguments.
    pub(super) full_name: Cow<'a, str>,
    /// The file; empty if unknown.
    pub(super) file: Cow<'a, str>,
    /// From 1; 0 if unknown.
    pub(super) line: u32,
    /// From 1; 0 if unknown.
    pub(super) column: u32,
}

impl<'a> Line<'a> {
    fn of_frame(frame: &'a Frame) -> Self {
        let name = match frame.kind {
            FrameKind::Code => escape(&frame.name),
            FrameKind::Span => Cow::Owned(format!("span \"{}\"", escape(&frame.name))),
        };
        let full_name = match frame.kind {
            FrameKind::Code => escape(&frame.function),
            FrameKind::Span => name.clone(),
        };
        Self {
            name,
            full_name,
            file: frame
                .place
                .as_ref()
                .map_or(Cow::Borrowed(""), |place| escape(&place.file)),
            line: frame.place.as_ref().map_or(0, |place| place.line),
            column: frame
                .place
                .as_ref()
                .and_then(|place| place.column)
                .unwrap_or(0),
        }
    }
}

impl Call<'_> {
    /// Creates an entry with words instead of a call, at the place where the task was spawned.
    pub(super) fn words(words: String, site: Option<&Place>) -> Self {
        Self {
            address: 0,
            offset: 0,
            lines: vec![Line {
                full_name: Cow::Owned(words.clone()),
                name: Cow::Owned(words),
                file: site.map_or(Cow::Borrowed(""), |site| {
                    Cow::Owned(escape(&site.file).into_owned())
                }),
                line: site.map_or(0, |site| site.line),
                column: site.and_then(|site| site.column).unwrap_or(0),
            }],
        }
    }
}

/// Returns all samples, those with the most tasks first; ties go to those that have waited longest.
pub(super) fn samples(profile: &Profile) -> Vec<Sample<'_>> {
    let builder = Builder {
        frames: &profile.frames,
        running_at: running_at(profile),
    };
    let groups = group_tasks(
        &profile.dump,
        &profile.frames,
        &Selection::default(),
        Grouping::Equal,
    );
    let mut samples: Vec<Sample> = Vec::with_capacity(groups.len());
    for group in groups {
        let state = group.doing();
        let ways = builder.ways(&group);
        let mut runtimes: BTreeMap<Option<&str>, Vec<&Task>> = BTreeMap::new();
        for task in &group.tasks {
            let tracked = task.tracked();
            let runtime = tracked.and_then(|tracked| profile.dump.string(tracked.runtime));
            runtimes.entry(runtime).or_default().push(task);
        }
        samples.extend(runtimes.into_iter().map(|(runtime, tasks)| Sample {
            tasks,
            kind: group.look.kind,
            name: group.look.name,
            state: state.clone(),
            runtime,
            site: group.look.site.clone(),
            ways: ways.clone(),
        }));
    }
    samples.sort_by_key(|sample| Reverse(sample.tasks.len()));
    samples
}

/// Returns the addresses where threads are executing. All others in a chain are return addresses:
/// the stacks of waiting tasks begin in a waker, which is never shown.
fn running_at(profile: &Profile) -> HashSet<u64> {
    stacks_of_threads(&profile.dump)
        .filter_map(|stack| profile.dump.stack(stack).first().copied())
        .collect()
}

struct Builder<'a> {
    frames: &'a Frames,
    running_at: HashSet<u64>,
}

impl<'a> Builder<'a> {
    fn ways(&self, group: &TaskGroup) -> Vec<Way<'a>> {
        let site = group.look.site.as_ref();
        let ways = group.chains.iter().map(|chain| self.way(chain, site));
        let mut ways: Vec<Way> = ways.filter(|way| !way.calls.is_empty()).collect();
        if ways.is_empty() {
            ways.push(Way {
                calls: vec![Call::words(unseen(group), site)],
                wait: None,
            });
        }
        ways
    }

    fn way(&self, chain: &Chain, site: Option<&Place>) -> Way<'a> {
        let mut calls: Vec<Call> = Vec::with_capacity(chain.links.len());
        let mut last: Option<(u64, Vec<FrameId>)> = None;
        for link in &chain.links {
            let Some(frame) = self.frames.get(link.frame) else {
                continue;
            };
            let line = Line::of_frame(frame);
            // A frame repeated at the same address is a recursion, not inlined.
            match (&mut last, calls.last_mut()) {
                (Some((address, inlined)), Some(call))
                    if *address == link.address
                        && frame.kind == FrameKind::Code
                        && !inlined.contains(&link.frame) =>
                {
                    inlined.push(link.frame);
                    call.lines.push(line);
                }
                _ => {
                    let address = self.inside(link.address);
                    let start = self.frames.function_start(link.address);
                    calls.push(Call {
                        address,
                        offset: start.map_or(0, |start| address.saturating_sub(start)),
                        lines: vec![line],
                    });
                    last = Some((link.address, vec![link.frame]));
                }
            }
        }
        if let Some(incomplete) = chain.incomplete {
            calls.push(Call::words(incomplete.to_owned(), site));
        }
        Way {
            calls,
            wait: chain.wait.map(WaitReason::as_str),
        }
    }

    /// Returns an address inside the instruction of a frame.
    fn inside(&self, address: u64) -> u64 {
        if self.running_at.contains(&address) {
            address
        } else {
            address.saturating_sub(1)
        }
    }
}

/// Returns the words that replace a missing stack.
fn unseen(group: &TaskGroup) -> String {
    let look = &group.look;
    let words = match (look.state, look.state.meaning()) {
        (_, Some(meaning)) => format!("({meaning})"),
        (State::Running { tid: Some(tid) }, None) => format!("(running on thread {tid})"),
        (State::Waiting, None) => look.remark.unwrap_or("(not captured)").to_owned(),
        (state, None) => format!("({})", state.word()),
    };
    match look.future_type.as_deref() {
        // Without a name or place, only the type says what it is.
        Some(future) if !look.is_tracked => format!("{} {words}", escape(&display_type(future))),
        _ => words,
    }
}
