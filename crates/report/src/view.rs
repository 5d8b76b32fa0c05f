//! Everything that one command shows of a process.

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    time::Duration,
};

use rtops_symbols::{Place, WaitReason};
use rtops_types::Pid;

use crate::{
    dump::Dump,
    frame::Frame,
    frames::Frames,
    group::TaskGroup,
    holders::Holders,
    leaks::Findings,
    selection::Grouping,
    task::State,
    threads::{self, ThreadGroup},
    tree::Chain,
    verdicts::Verdicts,
    waits::Waits,
    words,
};

/// What `rtops stack` shows.
#[derive(Debug)]
pub struct View<'a> {
    /// The process, by the number that the reader knows it by.
    pub pid: Pid,
    /// The name of the process.
    pub name: &'a str,
    /// The version of its agent; `None` if no agent was asked.
    pub agent_version: Option<&'a str>,
    /// The dump.
    pub dump: &'a Dump,
    /// The resolved addresses of the dump.
    pub frames: &'a Frames,
    /// Who holds what others wait for.
    pub holders: Holders<'a>,
    /// Who waits for whom, computed on first use.
    pub waits: OnceCell<Waits<'a>>,
    /// The faults of the process; `None` if they were not asked for.
    pub verdicts: Option<Verdicts<'a>>,
    /// Whether equal tasks are grouped.
    pub grouping: Grouping,
    /// The most groups of tasks, and of threads, to show.
    pub limit: usize,
    /// The groups of tasks; `None` if they were not asked for.
    pub tasks: Option<Vec<TaskGroup<'a>>>,
    /// The groups of threads; `None` if they were not asked for.
    pub threads: Option<Vec<ThreadGroup<'a>>>,
    /// How many tasks are left out because it is unknown whether they have waited long enough.
    pub ageless: usize,
    /// Sentences that say what better symbols would add.
    pub lacks: Vec<String>,
    /// How much detail to show.
    pub layout: Layout,
}

/// How much detail to show.
#[derive(Debug, Default)]
pub struct Layout {
    /// Whether an idle group takes one line, and a thread is left out if its task is shown.
    pub is_brief: bool,
    /// Lines of source code, by their places.
    pub sources: HashMap<Place, String>,
    /// The remarks made so far.
    told: RefCell<HashSet<String>>,
}

impl Layout {
    /// Creates a layout with these lines of source code.
    #[must_use]
    pub fn new(is_brief: bool, sources: HashMap<Place, String>) -> Self {
        Self {
            is_brief,
            sources,
            told: RefCell::default(),
        }
    }

    /// Whether a remark is made for the first time; records it.
    pub fn is_new(&self, remark: &str) -> bool {
        self.told.borrow_mut().insert(remark.to_owned())
    }
}

/// Returns the frame in the service's own code where these chains wait, if there is exactly one.
pub fn own_frame<'f>(frames: &'f Frames, chains: &[Chain]) -> Option<&'f Frame> {
    let own = chains
        .iter()
        .filter_map(|chain| frames.innermost_own(&chain.links));
    let own: HashSet<&Frame> = own.collect();
    let mut own = own.into_iter();
    own.next().filter(|_| own.next().is_none())
}

impl<'a> View<'a> {
    /// Creates a view of the dump alone; what else is wanted is to be added.
    #[must_use]
    pub fn of(dump: &'a Dump, frames: &'a Frames) -> Self {
        Self {
            pid: Pid::own(),
            name: "",
            agent_version: None,
            dump,
            frames,
            holders: Holders::of(dump),
            waits: OnceCell::new(),
            verdicts: None,
            grouping: Grouping::Equal,
            limit: usize::MAX,
            tasks: None,
            threads: None,
            ageless: 0,
            lacks: Vec::new(),
            layout: Layout::default(),
        }
    }

    /// Returns the source line at the place of a frame, if known.
    pub fn source(&self, frame: Option<&'a Frame>) -> Option<(&'a Frame, &str)> {
        let frame = frame?;
        let text = self.layout.sources.get(frame.place.as_ref()?)?;
        Some((frame, text))
    }

    /// Returns who waits for whom.
    pub fn waits(&self) -> &Waits<'a> {
        let find_out = || Waits::of(self.dump, self.frames, &self.holders);
        self.waits.get_or_init(find_out)
    }

    /// Returns what blocks a thread inside a poll, such as "waits for a lock"; `None` if it
    /// is unknown or the thread runs.
    pub fn blocked(&self, tid: i32) -> Option<String> {
        let wait = threads::wait_of(self.dump.thread(tid)?, self.frames)?;
        let words = words::blocked(wait)?;
        Some(match self.blocks_on(wait, tid) {
            Some(future) => format!("{words}: {future}"),
            None => words.to_owned(),
        })
    }

    /// Returns what the future waits for that a thread blocks on, if that is its
    /// wait and the future is shown.
    pub fn blocks_on(&self, wait: WaitReason, tid: i32) -> Option<String> {
        let mut groups = self.tasks.iter().flatten();
        let is_its = |group: &&TaskGroup| {
            let mut tasks = group.tasks.iter();
            tasks.any(|task| task.block_on() == Some(tid))
        };
        let group = groups
            .find(is_its)
            .filter(|_| wait == WaitReason::BlockOn)?;
        let is_known = group.look.state != State::Waiting || !group.waits().is_empty();
        is_known.then(|| group.doing())
    }
}

/// What `rtops leaks` shows.
#[derive(Debug)]
pub struct LeaksView<'a> {
    /// The dump that was judged last; its groups are not shown.
    pub view: View<'a>,
    /// What was found.
    pub findings: Findings<'a>,
    /// How long the process was watched, and in how many dumps.
    pub watched: (Duration, usize),
    /// Whether it was compared with a saved dump instead of being watched.
    pub is_compared: bool,
    /// The part of the output that this is.
    pub part: Part,
}

/// A part of what `rtops leaks` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What one look shows before the process is watched.
    First {
        /// How long it will be watched.
        watch: Duration,
    },
    /// What that look did not show.
    Rest {
        /// How many findings it showed.
        told: usize,
        /// How many of them no longer hold.
        over: usize,
    },
}
