//! A look at the memory of a process, and when to look again while it is watched.

use std::time::{Duration, Instant};

use rtops_protocol::StackParts;
use rtops_render::json::verdicts::VerdictsPart;
use rtops_report::{
    census::{Census, Kept, Moved, kept_by_type},
    frames::Shown,
    group::group_tasks,
    order::{self, Order},
    runtimes::{self, SeenRuntime},
    selection::{Grouping, Selection},
    symbolize::symbolize_all,
    threads::group_threads,
    verdicts::Verdicts,
    view::View,
};
use serde_json::Value;

use crate::{
    args::{AttachChoice, StatsArgs},
    dump::{
        Taken,
        image::{
            Detail,
            outside::{self, Look},
        },
        reader::SymbolReader,
    },
    error::Error,
    find::target::Target,
};

/// A watched process is frozen no more often than this.
const PACE: Duration = Duration::from_secs(10);
/// It is stopped for at most 1/`PAUSE_SHARE` of the time.
const PAUSE_SHARE: u32 = 1000;
/// Reading and interpreting the image takes at most 1/`WORK_SHARE` of the time.
const WORK_SHARE: u32 = 10;

/// Looks at a process from outside; if that is impossible, asks its agent for what it
/// tracks. No agent polls a task for this.
///
/// # Errors
/// If neither is possible.
pub fn take(target: &Target, args: &StatsArgs) -> Result<Taken, Error> {
    let look = Look {
        parts: StackParts::All,
        detail: Detail::InMemory,
        attach: args.attach,
        save: None,
        timeout: args.timeout,
        reader: None,
    };
    Ok(outside::take(target, look)?.0)
}

/// What the memory of a process shows, in the words of `rtops stack`.
#[derive(Debug)]
pub struct Seen<'a> {
    pub stack: View<'a>,
    pub census: Census,
    pub runtimes: Vec<SeenRuntime>,
    /// Ended tasks that are kept by their join handles, by type.
    pub kept: Vec<Kept>,
}

impl<'a> Seen<'a> {
    /// Counts what a view of the whole process shows.
    pub fn of(stack: View<'a>) -> Self {
        Self {
            census: Census::of(stack.tasks.as_deref().unwrap_or_default()),
            runtimes: runtimes::of(stack.dump, stack.frames),
            kept: kept_by_type(stack.dump, stack.frames),
            stack,
        }
    }
}

/// Judges and counts everything that was found in memory.
pub fn with_seen<T>(taken: &Taken, args: &StatsArgs, show: impl FnOnce(&Seen<'_>) -> T) -> T {
    let dump = &taken.dump;
    let reader = SymbolReader::start(&args.symbols, args.timeout, Shown::Folded);
    let mut symbols = reader.symbols(taken);
    let frames = symbolize_all(dump, &mut symbols, Shown::Folded);
    let view = taken.view(&frames);
    let waits = view.waits();
    let everything = Selection::default();
    let mut groups = group_tasks(dump, &frames, &everything, Grouping::Equal);
    // What an agent reports without a poll is too little to judge.
    let verdicts = dump
        .is_image()
        .then(|| Verdicts::of(dump, &frames, waits, &groups));
    order::sort_tasks(&mut groups, dump, &frames, waits, Order::Concern);
    show(&Seen::of(View {
        verdicts,
        limit: 0,
        threads: Some(group_threads(dump, &frames, &everything, Grouping::Equal)),
        tasks: Some(groups),
        ..view
    }))
}

/// The result of one look.
#[derive(Debug)]
pub struct Looked {
    /// When it was taken.
    pub at: Instant,
    /// How long the process stood still.
    pub pause: Duration,
    /// The name of each fault, and the sentence about it.
    pub faults: Vec<(&'static str, String)>,
    /// The verdicts as JSON.
    pub verdicts: Value,
    pub census: Census,
    pub runtimes: Vec<SeenRuntime>,
    /// What came and went since the previous look; `None` at the first one.
    pub since_last: Option<Vec<Moved>>,
    /// What came and went since the first look; `None` at that one.
    pub since_first: Option<Vec<Moved>>,
}

/// The looks at a process that is being watched.
#[derive(Debug)]
pub struct Looks {
    target: Target,
    args: StatsArgs,
    next: Instant,
    first: Option<Census>,
    /// The last look.
    pub last: Option<Looked>,
    /// Whether the last look was taken just now.
    pub is_new: bool,
    /// Why there was no look when one was due.
    pub missing: Option<String>,
}

impl Looks {
    /// Begins; the first look is due now.
    pub fn begin(target: Target, args: StatsArgs) -> Self {
        Self {
            target,
            args,
            next: Instant::now(),
            first: None,
            last: None,
            is_new: false,
            missing: None,
        }
    }

    /// Looks at the process if a look is due.
    pub fn look_if_due(&mut self) {
        let begin = Instant::now();
        self.is_new = false;
        if begin < self.next {
            return;
        }
        let looked = take(&self.target, &self.args).and_then(|taken| {
            let outside = taken.dump.outside.as_ref();
            let Some(pause) = outside.map(|outside| Duration::from_nanos(outside.pause_ns)) else {
                let why = taken.dump.why_not_attached().unwrap_or_default().to_owned();
                return Err(Error::Failed(why));
            };
            Ok(with_seen(&taken, &self.args, |seen| {
                self.looked(begin, pause, seen)
            }))
        });
        let mut pause = Duration::ZERO;
        match looked {
            Ok(looked) => {
                pause = looked.pause;
                self.missing = None;
                self.is_new = true;
                self.first.get_or_insert_with(|| looked.census.clone());
                self.last = Some(looked);
            }
            Err(error) => {
                self.missing = Some(error.to_string());
            }
        }
        let now = Instant::now();
        let work = now.duration_since(begin).saturating_mul(WORK_SHARE);
        self.next = now + PACE.max(work).max(pause.saturating_mul(PAUSE_SHARE));
    }

    /// Returns why there was no look so far, if the user demands one.
    pub fn never_possible(&self) -> Option<String> {
        let is_wanted = self.args.attach.attach == AttachChoice::Always;
        let missing = self
            .missing
            .as_ref()
            .filter(|_| is_wanted && self.last.is_none());
        missing.cloned()
    }

    fn looked(&self, at: Instant, pause: Duration, seen: &Seen<'_>) -> Looked {
        let census = Census::of(seen.stack.tasks.as_deref().unwrap_or_default());
        let judged = seen.stack.verdicts.as_ref();
        let faults = judged.iter().flat_map(|judged| &judged.verdicts);
        let faults = faults.map(|verdict| (verdict.fault.as_str(), verdict.sentence.clone()));
        let verdicts = judged.map(|judged| VerdictsPart::of(seen.stack.dump, judged));
        Looked {
            at,
            pause,
            faults: faults.collect(),
            verdicts: serde_json::to_value(verdicts).unwrap_or_default(),
            since_last: self.last.as_ref().map(|last| census.since(&last.census)),
            since_first: self.first.as_ref().map(|first| census.since(first)),
            census,
            runtimes: seen.runtimes.clone(),
        }
    }
}
