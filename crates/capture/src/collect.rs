//! Probing the tasks and capturing the threads.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_protocol::{Ask, HandleSeen, Leaf, LeafEnd, Process, Thread, ThreadCapture, Tracking};
use rtops_sync::Contended;
use rtops_tasks::{
    Entry, Findings, Kind, Plan, Probed, ProbedState, RuntimeTag, Shortfall, Sink, StackCopy,
    Stale, probe,
};
use rtops_threads::{Capturer, Missing, Slice, ThreadInfo, Tid};
use rtops_unwind::{Outcome, StackSlice, Unwinder};

use crate::{
    Evidence, Host, OwnThread, claims,
    handles::Handles,
    leaves::{Leaves, SortedLeaves},
    send::Dump,
    stack_table::StackTable,
};

/// The maximum number of addresses in a dump: 32 MiB.
const MAX_ADDRESSES: usize = 4 << 20;
/// The part of a dump's time that is reserved for the threads.
const THREADS_TIME: Duration = Duration::from_secs(2);

/// The threads that a dump is about.
pub(super) enum Which {
    All,
    /// Those with these numbers, such as threads that are inside the poll of a task.
    These(Vec<i32>),
}

impl Which {
    fn has(&self, tid: i32) -> bool {
        match self {
            Self::All => true,
            Self::These(tids) => tids.contains(&tid),
        }
    }
}

/// Unwinds copies as they come in.
pub(super) struct Collector<'a> {
    host: &'a dyn Host,
    evidence: Evidence,
    /// Set when the probing of the tasks begins, if evidence is wanted.
    handles: Option<Handles>,
    /// With the number of the task in the dump.
    handles_seen: Vec<(usize, HandleSeen)>,
    contended: Vec<Contended>,
    unwinder: Unwinder,
    stacks: StackTable,
    leaves: Leaves,
    /// The sorted leaves, once the tasks are probed.
    sorted: SortedLeaves,
    threads: Vec<Thread>,
    gaps: Vec<String>,
    addresses: Vec<u64>,
    is_full: bool,
}

impl Sink for Collector<'_> {
    fn copied(&mut self, copy: &StackCopy<'_>) {
        for owner in copy.owners {
            let leaf = self.unwind(copy.stack, owner.base);
            let Some(leaf) = leaf else { continue };
            self.leaves.add(owner.index, leaf);
            // Other stacks may contain what other tasks left there.
            if let Some(handles) = self.handles.as_ref().filter(|_| copy.is_own_stack) {
                let seen = handles.seen(owner.id.get(), leaf.stack, &self.addresses, copy);
                let seen = seen.into_iter().map(|handle| (owner.index, handle));
                self.handles_seen.extend(seen);
            }
        }
    }

    fn discard(&mut self, index: usize) {
        self.leaves.discard(index);
        self.handles_seen.retain(|(task, _)| *task != index);
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(host: &'a dyn Host, evidence: Evidence) -> Self {
        let mut unwinder = Unwinder::new();
        unwinder.refresh();
        Self {
            host,
            evidence,
            handles: None,
            handles_seen: Vec::new(),
            contended: Vec::new(),
            unwinder,
            stacks: StackTable::new(MAX_ADDRESSES),
            leaves: Leaves::default(),
            sorted: SortedLeaves::default(),
            threads: Vec::new(),
            gaps: Vec::new(),
            addresses: Vec::new(),
            is_full: false,
        }
    }

    pub(super) fn gap(&mut self, sentence: &str) {
        self.gaps.push(sentence.to_owned());
    }

    fn unwind(&mut self, slice: StackSlice<'_>, base: Option<u64>) -> Option<Leaf> {
        self.addresses.clear();
        let outcome = self.unwinder.unwind(&slice, base, &mut self.addresses);
        let Some(stack) = self.stacks.intern(&self.addresses) else {
            self.is_full = true;
            return None;
        };
        Some(Leaf {
            stack,
            end: match outcome {
                Outcome::Root | Outcome::Base => LeafEnd::Complete,
                Outcome::Truncated | Outcome::TooDeep => LeafEnd::Truncated,
                Outcome::Lost => LeafEnd::Lost,
            },
        })
    }

    /// Probes the tasks, or only some, and leaves part of the time for the threads.
    pub(super) fn tasks(
        &mut self,
        only: Option<Vec<Arc<Entry>>>,
        ask: Ask,
        deadline: Instant,
    ) -> Vec<Probed> {
        let mut plan = Plan::all(without_threads(deadline));
        plan.only = only;
        if self.evidence == Evidence::Full {
            self.handles = Some(Handles::now());
            plan.stale = Stale::Cleared;
        }
        let mut findings = match ask {
            Ask::Nobody => Findings::listed(plan),
            Ask::Tasks | Ask::TasksAndThreads => probe(plan, self),
            Ask::These(these) => {
                plan.asked = Some(these.into_iter().collect());
                probe(plan, self)
            }
        };
        self.sorted = std::mem::take(&mut self.leaves).sorted();
        if self.evidence == Evidence::Full {
            self.contended = rtops_sync::contended();
            let new = claims::new_holders(&self.contended, &findings.tasks);
            findings.tasks.extend(new);
        }
        let Shortfall {
            not_asked,
            cut_short,
            no_memory,
        } = findings.shortfall;
        if not_asked > 0 {
            self.gap(&format!(
                "there was no time to ask {not_asked} tasks where they wait; try a longer --timeout"
            ));
        }
        if cut_short > 0 {
            self.gap(&format!(
                "{cut_short} tasks wait in more places than are shown"
            ));
        }
        if no_memory {
            self.gap("the target has no memory for copies of its tasks' stacks");
        }
        let left_out = claims::cap(&mut self.contended);
        if left_out > 0 {
            self.gap(&format!(
                "{left_out} more hold locks or wait for them than are shown"
            ));
        }
        findings.tasks
    }

    /// Lists the threads, and captures their stacks if `interrupts` is set.
    pub(super) fn threads(&mut self, which: &Which, interrupts: bool, deadline: Instant) {
        let Ok(mut list) = rtops_threads::list() else {
            return self.gap("the threads can't be listed: /proc is not readable in the target");
        };
        list.retain(|thread| which.has(thread.tid.as_raw()));
        let captures = match self.host.capturer().filter(|_| interrupts) {
            Some(capturer) => self.capture(capturer, &list, deadline),
            None => HashMap::new(),
        };
        let capture = |tid: Tid| match (
            self.host.own_thread(tid.as_raw()),
            captures.get(&tid.as_raw()),
        ) {
            (Some(OwnThread::Client), _) => None,
            (Some(OwnThread::Listener), _) => Some(ThreadCapture::Agent),
            (None, Some(capture)) => *capture,
            (None, None) => Some(ThreadCapture::Off),
        };
        let threads = list.into_iter().filter_map(|thread| {
            Some(Thread {
                capture: capture(thread.tid)?,
                tid: thread.tid.as_raw(),
                name: Some(thread.name),
                state: Some(thread.state),
                wchan: thread.wchan,
                syscall: thread.syscall,
                cpu_ticks: Some(thread.cpu_ticks),
                timeslices: thread.timeslices,
                afterwards: None,
            })
        });
        self.threads = threads.collect();
    }

    /// Captures the stacks of all but the agent's own threads; `None` for a thread that has ended.
    fn capture(
        &mut self,
        capturer: &Capturer,
        list: &[ThreadInfo],
        deadline: Instant,
    ) -> HashMap<i32, Option<ThreadCapture>> {
        let wanted: Vec<Tid> = list
            .iter()
            .map(|thread| thread.tid)
            .filter(|tid| self.host.own_thread(tid.as_raw()).is_none())
            .collect();
        // A thread may be in a library that was loaded after the tasks were probed.
        self.unwinder.refresh();
        let mut captures = HashMap::with_capacity(wanted.len());
        capturer.capture(&wanted, deadline, |tid, result| {
            captures.insert(tid.as_raw(), self.thread_capture(result));
        });
        captures
    }

    /// Returns `None` for a thread that has ended.
    fn thread_capture(&mut self, result: Result<Slice<'_>, Missing>) -> Option<ThreadCapture> {
        Some(match result {
            Ok(slice) => {
                let leaf = self.unwind(slice.stack, None);
                leaf.map_or(ThreadCapture::NoTime, ThreadCapture::Stack)
            }
            Err(Missing::Exited) => return None,
            Err(Missing::Myself) => ThreadCapture::Agent,
            Err(Missing::SignalBlocked) => ThreadCapture::SignalBlocked,
            Err(Missing::HandlerReplaced) => ThreadCapture::HandlerReplaced,
            Err(Missing::NoTime | Missing::Busy) => ThreadCapture::NoTime,
            Err(Missing::System(errno)) => ThreadCapture::Failed(errno),
            Err(_) => ThreadCapture::NoAnswer,
        })
    }

    /// Returns everything that was found out, ready to be sent.
    pub(super) fn finish(mut self, probed: Vec<Probed>, alive_on_tokio: Option<u64>) -> Dump<'a> {
        if self.is_full {
            self.gap("the target has more distinct stacks than a dump holds: some are missing");
        }
        let tracked_on_tokio = on_tokio(&probed);
        Dump {
            host: self.host,
            process: Process {
                name: self.host.name().to_owned(),
                tracked_on_tokio: Some(u64::try_from(tracked_on_tokio).unwrap_or(u64::MAX)),
                alive_on_tokio,
                tracking: rtops_tasks::polled_at().map(|current| Tracking {
                    current,
                    keeps_waker: Entry::keeps_waker(),
                }),
            },
            unwinder: self.unwinder,
            stacks: self.stacks,
            tasks: probed,
            leaves: self.sorted,
            threads: self.threads,
            handles_seen: self.handles_seen,
            contended: self.contended,
            evidence: self.evidence,
            gaps: self.gaps,
        }
    }
}

/// Counts the tracked tasks on tokio runtimes. Tasks that are held back do not count: the task
/// around them waits elsewhere.
fn on_tokio(probed: &[Probed]) -> usize {
    let is_one = |task: &&Probed| {
        !matches!(task.state, ProbedState::Ended | ProbedState::HeldBack)
            && task.entry.kind() == Kind::Task
            && task.entry.runtime() != RuntimeTag::default()
    };
    probed.iter().filter(is_one).count()
}

/// Returns when to begin with the threads at the latest.
fn without_threads(deadline: Instant) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + (left / 2).max(left.saturating_sub(THREADS_TIME))
}
