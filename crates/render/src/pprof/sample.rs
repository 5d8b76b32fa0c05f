//! What tasks are counted together, and the calls of each place where they wait.

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

/// Tasks that look the same and run on the same runtime; or spans that stand on their own.
pub(super) struct Sample<'a> {
    pub(super) tasks: Vec<&'a Task>,
    pub(super) kind: TaskKind,
    pub(super) name: Option<&'a str>,
    /// What stands in Go's bracket: nothing with a comma or a bracket in it.
    pub(super) state: String,
    pub(super) runtime: Option<&'a str>,
    pub(super) site: Option<Place>,
    /// One for each place where they wait, at least one.
    pub(super) ways: Vec<Way<'a>>,
}

impl Sample<'_> {
    /// What is told of each of its tasks, with what one of its ways waits for. Texts are as they
    /// came.
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

/// One way from where a task waits to its root.
#[derive(Clone)]
pub(super) struct Way<'a> {
    /// Innermost first, at least one.
    pub(super) calls: Vec<Call<'a>>,
    /// What it waits for at the end.
    pub(super) wait: Option<&'static str>,
}

/// A call, with all that was inlined there; or what stands for one and has no code.
#[derive(Clone)]
pub(super) struct Call<'a> {
    /// Inside the instruction that calls or runs; 0 where there is no code.
    pub(super) address: u64,
    /// How far that is from the start of the function; 0 where that is not known.
    pub(super) offset: u64,
    /// The innermost inlined function first, at least one.
    pub(super) lines: Vec<Line<'a>>,
}

/// A function, and the place in it. Nothing in the texts acts on a terminal.
#[derive(Clone)]
pub(super) struct Line<'a> {
    /// As people say it.
    pub(super) name: Cow<'a, str>,
    /// With all generic arguments.
    pub(super) full_name: Cow<'a, str>,
    /// Empty where it is not known.
    pub(super) file: Cow<'a, str>,
    /// From 1; 0 where it is not known.
    pub(super) line: u32,
    /// From 1; 0 where it is not known.
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
    /// Words in the place of a call, at the place where the task was spawned.
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

/// All samples, those of most tasks first; of equally many, those that have waited longest.
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

/// The addresses that threads are at. All others of a chain are where a call returns to: those of
/// tasks that wait begin in a waker, which is never shown.
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
            // A frame that comes again at the same address is a recursion, not inlined.
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

    /// An address inside the instruction that a frame is at.
    fn inside(&self, address: u64) -> u64 {
        if self.running_at.contains(&address) {
            address
        } else {
            address.saturating_sub(1)
        }
    }
}

/// What stands in the place of a stack that is not there.
fn unseen(group: &TaskGroup) -> String {
    let look = &group.look;
    let words = match (look.state, look.state.meaning()) {
        (_, Some(meaning)) => format!("({meaning})"),
        (State::Running { tid: Some(tid) }, None) => format!("(running on thread {tid})"),
        (State::Waiting, None) => look.remark.unwrap_or("(not captured)").to_owned(),
        (state, None) => format!("({})", state.word()),
    };
    match look.future_type.as_deref() {
        // It has neither a name nor a place that would tell what it is.
        Some(future) if !look.is_tracked => format!("{} {words}", escape(&display_type(future))),
        _ => words,
    }
}
