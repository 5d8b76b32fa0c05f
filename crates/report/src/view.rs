//! All that one command shows of a process.

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

/// Everything that `rtops stack` shows.
#[derive(Debug)]
pub struct View<'a> {
    /// The process, as the reader numbers it.
    pub pid: Pid,
    /// The name that it goes by.
    pub name: &'a str,
    /// The version of its agent; `None` where none was asked.
    pub agent_version: Option<&'a str>,
    /// What its agent sent.
    pub dump: &'a Dump,
    /// The names of the addresses in it.
    pub frames: &'a Frames,
    /// Who holds what others wait for in it.
    pub holders: Holders<'a>,
    /// Who waits for whom in it, once that is asked for.
    pub waits: OnceCell<Waits<'a>>,
    /// What is wrong with it; `None` where that was not asked.
    pub verdicts: Option<Verdicts<'a>>,
    /// Whether equal tasks are together.
    pub grouping: Grouping,
    /// The most groups of tasks, and of threads, that are shown.
    pub limit: usize,
    /// `None` where they were not asked for.
    pub tasks: Option<Vec<TaskGroup<'a>>>,
    /// `None` where they were not asked for.
    pub threads: Option<Vec<ThreadGroup<'a>>>,
    /// How many tasks are left out as it is not known whether they have waited for long enough.
    pub ageless: usize,
    /// Sentences that say what better symbols would give.
    pub lacks: Vec<String>,
    /// How much is said of it.
    pub layout: Layout,
}

/// How much is said of what is shown.
#[derive(Debug, Default)]
pub struct Layout {
    /// Whether what is idle stands on a line, and no thread beside the task that it runs.
    pub is_brief: bool,
    /// Lines of the source, by their places.
    pub sources: HashMap<Place, String>,
    /// The remarks that were made.
    told: RefCell<HashSet<String>>,
}

impl Layout {
    /// One that has these lines of the source.
    #[must_use]
    pub fn new(is_brief: bool, sources: HashMap<Place, String>) -> Self {
        Self {
            is_brief,
            sources,
            told: RefCell::default(),
        }
    }

    /// Whether a remark was not made before; it is now.
    pub fn is_new(&self, remark: &str) -> bool {
        self.told.borrow_mut().insert(remark.to_owned())
    }
}

/// Where the service's own code waits, if that is at one place.
pub fn own_frame<'f>(frames: &'f Frames, chains: &[Chain]) -> Option<&'f Frame> {
    let own = chains
        .iter()
        .filter_map(|chain| frames.innermost_own(&chain.links));
    let own: HashSet<&Frame> = own.collect();
    let mut own = own.into_iter();
    own.next().filter(|_| own.next().is_none())
}

impl<'a> View<'a> {
    /// Nothing but the dump: what is wanted of it is to be added.
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

    /// The line of the source at the place of a frame, if it is known.
    pub fn source(&self, frame: Option<&'a Frame>) -> Option<(&'a Frame, &str)> {
        let frame = frame?;
        let text = self.layout.sources.get(frame.place.as_ref()?)?;
        Some((frame, text))
    }

    /// Who waits for whom.
    pub fn waits(&self) -> &Waits<'a> {
        let find_out = || Waits::of(self.dump, self.frames, &self.holders);
        self.waits.get_or_init(find_out)
    }

    /// What blocks a thread that is inside of a poll, such as "waits for a lock"; `None` where that is not
    /// known, or where it runs.
    pub fn blocked(&self, tid: i32) -> Option<String> {
        let wait = threads::wait_of(self.dump.thread(tid)?, self.frames)?;
        let words = words::blocked(wait)?;
        Some(match self.blocks_on(wait, tid) {
            Some(future) => format!("{words}: {future}"),
            None => words.to_owned(),
        })
    }

    /// What the future waits for that a thread blocks on, if it waits so and the future is shown.
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

/// Everything that `rtops leaks` shows.
#[derive(Debug)]
pub struct LeaksView<'a> {
    /// The dump that was judged last. Its groups are not shown.
    pub view: View<'a>,
    /// What was found.
    pub findings: Findings<'a>,
    /// For how long the process was watched, and in how many dumps.
    pub watched: (Duration, usize),
    /// Whether that was done by a dump that had been saved.
    pub is_compared: bool,
    /// Which part of it this is.
    pub part: Part,
}

/// A part of what `rtops leaks` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What one look tells, before the process is watched.
    First {
        /// For how long it will be.
        watch: Duration,
    },
    /// What that look did not tell.
    Rest {
        /// How much it told,
        told: usize,
        /// and how much of that is so no longer.
        over: usize,
    },
}
