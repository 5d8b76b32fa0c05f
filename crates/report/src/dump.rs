//! Receives a dump and checks it; afterwards, every number in it refers to something.

use std::{collections::HashMap, time::Duration};

use rtops_protocol::{
    self as protocol, Claim, CoreHead, End, EndedSite, HandleSeen, Leaf, Module, OnRuntime,
    Outside, Process, ProtocolError, Refused, Reply, Resource, Saved, Shared, SourceLocation,
    StackId, StringId, TaskKind, Thread, ThreadCapture, Trace, TraceId, Untracked, UntrackedState,
};
use rtops_symbols::Place;

use crate::{
    format, join,
    task::{Polls, Task, TaskKey},
};

/// The most tasks, threads, texts and stacks that are accepted, for each kind.
const MAX_ITEMS: usize = 2_000_000;
/// The most addresses in all stacks, and the most leaves in all tasks.
const MAX_ADDRESSES: usize = 32_000_000;
/// The most modules.
const MAX_MODULES: usize = 65_536;
/// The most distinct stepped polls.
const MAX_TRACES: usize = 10_000;

/// A dump as received.
#[derive(Debug, Default)]
pub struct Dump {
    /// The head of the dump.
    pub process: Option<Process>,
    /// The core file that it was taken from, if any.
    pub core: Option<CoreHead>,
    /// How it was taken, if from outside of a live process.
    pub outside: Option<Outside>,
    /// The modules that contain its addresses.
    pub modules: Vec<Module>,
    /// The tracked futures and the untracked tasks.
    pub tasks: Vec<Task>,
    /// How many untracked tasks have ended but are kept by their join handles, by
    /// the functions that polled them.
    pub kept: HashMap<Polls, usize>,
    /// The threads, ordered by their numbers.
    pub threads: Vec<Thread>,
    /// How many tasks and spans have ended, by the place where they were made.
    pub ended_sites: Vec<EndedSite>,
    /// Locks that are waited for.
    pub resources: Vec<Resource>,
    /// Who holds these locks and who waits for them.
    pub claims: Vec<Claim>,
    /// Handles of tasks, found on the stacks of other tasks that wait.
    pub handles_seen: Vec<HandleSeen>,
    /// What tasks and threads wait for, and who else has its address in memory.
    pub shared: Vec<Shared>,
    /// Which tasks and threads belong to which runtime, according to memory.
    pub runtimes: Vec<OnRuntime>,
    /// The stepped polls.
    pub traces: Vec<Trace>,
    /// Where and when it was saved; `None` if it comes from an agent.
    pub saved: Option<Saved>,
    /// Sentences that say what is missing.
    pub gaps: Vec<String>,
    /// Why the process was not inspected from outside although that was wanted.
    not_attached: Option<String>,
    /// How many stacks preceded those read from outside, which are numbered from 0 again.
    agents_stacks: u32,
    /// The threads that an agent reported earlier.
    agents_threads: HashMap<i32, Thread>,
    /// How many untracked tasks have been received, including ended ones.
    untracked: u32,
    /// The largest number of a tracked task.
    last_tracked: u64,
    strings: Vec<String>,
    stacks: Vec<Vec<u64>>,
    addresses: usize,
    leaves: usize,
    parties: usize,
}

/// Why there is no dump at all.
#[derive(Debug)]
pub enum Failure {
    /// The agent refused to give one.
    Refused(Refused),
    /// The connection broke or timed out before anything useful arrived.
    Lost(ProtocolError),
    /// The dump contradicts itself, or is too large to be honest.
    Nonsense(String),
}

impl Dump {
    /// Receives frames until the answer ends. If the connection breaks, what came before is
    /// kept, with a gap that says so.
    ///
    /// # Errors
    /// If there is no dump at all.
    pub fn receive(
        mut next: impl FnMut() -> Result<Reply, ProtocolError>,
    ) -> Result<Self, Failure> {
        let mut dump = Self::default();
        loop {
            match next() {
                Ok(Reply::End(End { gaps })) => {
                    dump.gaps.extend(gaps);
                    dump.gaps.extend(dump.untracked_not_shown());
                    break;
                }
                Ok(Reply::Refused(refused)) => return Err(Failure::Refused(refused)),
                Ok(reply) => dump.add(reply)?,
                Err(ProtocolError::Io(error)) if !dump.is_empty() => {
                    dump.gaps.push(match error.kind() {
                        std::io::ErrorKind::TimedOut => {
                            "the time was up before the agent had sent all; try a longer --timeout"
                                .to_owned()
                        }
                        _ => format!("the connection broke before the end: {error}"),
                    });
                    break;
                }
                Err(error) => return Err(Failure::Lost(error)),
            }
        }
        dump.join();
        Ok(dump)
    }

    /// Combines what an agent reports with what was read from outside.
    fn join(&mut self) {
        let outside = self.outside.as_ref();
        if let Some(after) = outside.and_then(|outside| outside.agent_told_after_ns) {
            let after = Duration::from_nanos(after);
            self.tasks = join::tasks(std::mem::take(&mut self.tasks), after);
        }
        self.threads.sort_by_key(|thread| thread.tid);
    }

    /// Returns the numbers of the tracked futures that the agent has to probe, because
    /// memory does not show where they wait.
    pub fn unread(&self) -> Vec<u64> {
        join::unread(&self.tasks)
    }

    /// Returns the text with this number; `None` for no text.
    pub fn string(&self, id: StringId) -> Option<&str> {
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        self.strings.get(index).map(String::as_str)
    }

    /// Returns a place that the agent reports, such as where a task or span was made, if known.
    pub fn place(&self, site: SourceLocation) -> Option<Place> {
        Some(Place {
            file: self.string(site.file)?.to_owned(),
            line: site.line,
            column: Some(site.column).filter(|column| *column > 0),
        })
    }

    /// Returns a number for readers that need one for each task: the agent's number, or for
    /// untracked tasks the numbers that follow; the latter mean nothing outside of the dump.
    pub fn number(&self, task: TaskKey) -> u64 {
        match task {
            TaskKey::Tracked(id) => id,
            TaskKey::Untracked(place) => {
                (self.last_tracked.saturating_add(1)).saturating_add(place.into())
            }
        }
    }

    /// Returns the thread with this number.
    pub fn thread(&self, tid: i32) -> Option<&Thread> {
        let index = self.threads.binary_search_by_key(&tid, |thread| thread.tid);
        self.threads.get(index.ok()?)
    }

    /// Returns all tasks by their keys.
    pub fn tasks_by_key(&self) -> HashMap<TaskKey, &Task> {
        self.tasks.iter().map(|task| (task.key, task)).collect()
    }

    /// Returns the trace with this number.
    pub fn trace(&self, id: TraceId) -> Option<&Trace> {
        self.traces.get(usize::try_from(id.0).ok()?)
    }

    /// Returns how many of tokio's tasks are known, tracked or not, without
    /// closures on blocking pools.
    pub fn known_on_tokio(&self) -> u64 {
        let process = self.process.as_ref();
        let tracked = process.and_then(|process| process.tracked_on_tokio);
        let is_untracked = |task: &&Task| task.kind == TaskKind::Task && task.untracked().is_some();
        let untracked = self.tasks.iter().filter(is_untracked).count();
        tracked.unwrap_or_default().saturating_add(untracked as u64)
    }

    /// Whether it was read from the memory of a process: a core file, or a process that stood
    /// still. It then has all of tokio's tasks that can be found, and not only the tracked ones.
    pub const fn is_image(&self) -> bool {
        self.core.is_some() || self.outside.is_some()
    }

    /// Returns why the process was not inspected from outside although that was wanted.
    pub fn why_not_attached(&self) -> Option<&str> {
        self.not_attached.as_deref()
    }

    /// Returns a sentence about what is missing because the process was not inspected from outside;
    /// `None` if nothing is: it was inspected, nobody wanted that, or all tasks are tracked.
    pub fn untracked_not_shown(&self) -> Option<String> {
        let why = self.not_attached.as_ref()?;
        let missing = self.process.as_ref().and_then(|process| {
            let (tracked, alive) = (process.tracked_on_tokio?, process.alive_on_tokio?);
            Some(usize::try_from(alive.saturating_sub(tracked)).unwrap_or(usize::MAX))
        });
        let what = match missing {
            Some(0) => return None,
            None => "untracked tasks are not shown".to_owned(),
            Some(1) => "1 untracked task is not shown".to_owned(),
            Some(tasks) => format!("{} are not shown", format::count(tasks, "untracked task")),
        };
        Some(format!("{what}: {why}"))
    }

    /// Returns the addresses of a stack, innermost first.
    pub fn stack(&self, id: StackId) -> &[u64] {
        usize::try_from(id.0)
            .ok()
            .and_then(|index| self.stacks.get(index))
            .map_or(&[], Vec::as_slice)
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.threads.is_empty()
    }

    fn add(&mut self, reply: Reply) -> Result<(), Failure> {
        match reply {
            Reply::Process(process) => self.process = Some(process),
            Reply::Modules(modules) => self.modules.extend(modules),
            Reply::Strings(strings) => self.strings.extend(strings.0),
            Reply::Stacks(stacks) => {
                self.addresses += stacks.0.iter().map(Vec::len).sum::<usize>();
                self.stacks.extend(stacks.0);
            }
            Reply::Tasks(tasks) => {
                self.leaves += tasks.iter().map(|task| task.leaves.len()).sum::<usize>();
                tasks.iter().try_for_each(|task| self.check_task(task))?;
                let last = tasks.iter().map(|task| task.id).max();
                self.last_tracked = self.last_tracked.max(last.unwrap_or_default());
                self.tasks.extend(tasks.into_iter().map(Task::of_tracked));
            }
            Reply::Threads(mut threads) => {
                for thread in &mut threads {
                    if let ThreadCapture::Stack(leaf) = &mut thread.capture {
                        *leaf = self.moved(*leaf);
                        self.check_stack(leaf.stack)?;
                    }
                }
                let agents = &self.agents_threads;
                let threads = threads.into_iter();
                self.threads
                    .extend(threads.filter_map(|thread| join::thread(agents, thread)));
            }
            Reply::EndedSites(sites) => {
                let mut files = sites.iter().map(|ended| ended.site.file);
                files.try_for_each(|file| self.check_text(file))?;
                self.ended_sites.extend(sites);
            }
            Reply::Resources(resources) => {
                let mut texts = resources
                    .iter()
                    .flat_map(|resource| [resource.value_type, resource.site.file]);
                texts.try_for_each(|text| self.check_text(text))?;
                self.resources.extend(resources);
            }
            Reply::Claims(claims) => {
                let mut files = claims.iter().map(|claim| claim.site.file);
                files.try_for_each(|file| self.check_text(file))?;
                self.claims.extend(claims);
            }
            Reply::HandlesSeen(handles) => {
                let mut stacks = handles.iter().map(|seen| seen.stack);
                stacks.try_for_each(|stack| self.check_stack(stack))?;
                self.handles_seen.extend(handles);
            }
            Reply::Trace(trace) => {
                check_trace(&trace)?;
                self.addresses += trace.calls.len() + trace.visits.len();
                self.traces.push(trace);
            }
            Reply::Untracked(tasks) => {
                for task in tasks {
                    self.add_untracked(task)?;
                }
            }
            Reply::Shared(shared) => {
                let parties = shared
                    .iter()
                    .map(|one| one.waiters.len() + one.others.len() + one.holders.len());
                self.parties += parties.sum::<usize>();
                self.shared.extend(shared);
            }
            Reply::OnRuntime(part) => {
                self.parties += part.threads.len() + part.cells.len();
                match self.runtimes.last_mut() {
                    Some(last) if last.number == part.number => last.cells.extend(part.cells),
                    _ => self.runtimes.push(part),
                }
            }
            Reply::NotAttached(not_attached) => self.not_attached = Some(not_attached.why),
            Reply::Saved(saved) => self.saved = Some(saved),
            Reply::Core(core) => self.core = Some(core),
            Reply::Outside(outside) => {
                if self.outside.is_some() {
                    return Err(Failure::Nonsense("it has two heads".to_owned()));
                }
                let threads = std::mem::take(&mut self.threads).into_iter();
                self.agents_threads = threads.map(|thread| (thread.tid, thread)).collect();
                self.agents_stacks = u32::try_from(self.stacks.len()).unwrap_or(u32::MAX);
                // The modules that were read are those of the same process, with their files.
                self.modules.clear();
                self.outside = Some(outside);
            }
            Reply::Summary(_)
            | Reply::Stats(_)
            | Reply::Memory(_)
            | Reply::Trimmed(_)
            | Reply::Build(_)
            | Reply::End(_)
            | Reply::Refused(_) => {
                return Err(Failure::Nonsense(
                    "a frame that is no part of a dump".to_owned(),
                ));
            }
        }
        self.check_size()
    }

    /// Renumbers the stack of a leaf that was read from outside.
    fn moved(&self, leaf: Leaf) -> Leaf {
        let stack = StackId(leaf.stack.0.saturating_add(self.agents_stacks));
        Leaf { stack, ..leaf }
    }

    fn add_untracked(&mut self, mut task: Untracked) -> Result<(), Failure> {
        self.leaves += task.leaves.len();
        for place in &mut task.leaves {
            place.leaf = self.moved(place.leaf);
        }
        task.wakes_itself = task.wakes_itself.map(|place| self.moved(place));
        let places = task.leaves.iter().map(|place| place.leaf);
        self.check_places(places.chain(task.wakes_itself), task.trace)?;
        if task.state == UntrackedState::Completed {
            let polls = Polls {
                poll: task.poll,
                boxed: task.boxed_poll,
            };
            *self.kept.entry(polls).or_default() += 1;
        }
        self.tasks.extend(Task::of_untracked(self.untracked, task));
        self.untracked = self.untracked.saturating_add(1);
        Ok(())
    }

    fn check_size(&self) -> Result<(), Failure> {
        for (count, limit, what) in [
            (self.modules.len(), MAX_MODULES, "modules"),
            (self.strings.len(), MAX_ITEMS, "texts"),
            (self.stacks.len(), MAX_ITEMS, "stacks"),
            (self.tasks.len(), MAX_ITEMS, "tasks"),
            (self.kept.len(), MAX_ITEMS, "types of tasks"),
            (self.threads.len(), MAX_ITEMS, "threads"),
            (self.gaps.len(), MAX_ITEMS, "gaps"),
            (self.ended_sites.len(), MAX_ITEMS, "places"),
            (self.resources.len(), MAX_ITEMS, "locks"),
            (self.claims.len(), MAX_ITEMS, "holders and waiters"),
            (self.handles_seen.len(), MAX_ITEMS, "handles"),
            (self.shared.len(), MAX_ITEMS, "things that are waited for"),
            (self.runtimes.len(), MAX_ITEMS, "runtimes"),
            (
                self.parties,
                MAX_ITEMS,
                "tasks and threads that share something",
            ),
            (self.traces.len(), MAX_TRACES, "stepped polls"),
            (self.addresses, MAX_ADDRESSES, "addresses"),
            (self.leaves, MAX_ADDRESSES, "leaves"),
        ] {
            if count > limit {
                return Err(Failure::Nonsense(format!("more than {limit} {what}")));
            }
        }
        Ok(())
    }

    fn check_task(&self, task: &protocol::Task) -> Result<(), Failure> {
        let SourceLocation { file, .. } = task.site;
        for text in [task.name, task.future_type, task.runtime, file] {
            self.check_text(text)?;
        }
        self.check_places(task.leaves.iter().copied(), None)
    }

    fn check_places(
        &self,
        mut leaves: impl Iterator<Item = Leaf>,
        trace: Option<TraceId>,
    ) -> Result<(), Failure> {
        if let Some(trace) = trace.filter(|trace| self.trace(*trace).is_none()) {
            let reason = format!("stepped poll {} is named and not there", trace.0);
            return Err(Failure::Nonsense(reason));
        }
        leaves.try_for_each(|leaf| self.check_stack(leaf.stack))
    }

    fn check_text(&self, text: StringId) -> Result<(), Failure> {
        if text.0 == 0 || self.string(text).is_some() {
            Ok(())
        } else {
            let reason = format!("text {} is named and not there", text.0);
            Err(Failure::Nonsense(reason))
        }
    }

    fn check_stack(&self, stack: StackId) -> Result<(), Failure> {
        let known = usize::try_from(stack.0).is_ok_and(|index| index < self.stacks.len());
        if known {
            Ok(())
        } else {
            let reason = format!("stack {} is named and not there", stack.0);
            Err(Failure::Nonsense(reason))
        }
    }
}

/// Returns the stack of a thread, if it was captured.
pub const fn leaf_of(thread: &Thread) -> Option<Leaf> {
    match thread.capture {
        ThreadCapture::Stack(leaf) => Some(leaf),
        _ => None,
    }
}

/// Checks that every call comes from an earlier one, and that every visit belongs to a call.
fn check_trace(trace: &Trace) -> Result<(), Failure> {
    let calls = trace.calls.iter().zip(0_u32..);
    let mut callers = calls.map(|(call, number)| (call.caller, number));
    let ordered = callers.all(|(caller, number)| caller < number || (caller, number) == (0, 0));
    let known = |call: u32| usize::try_from(call).is_ok_and(|call| call < trace.calls.len());
    if ordered && trace.visits.iter().all(|visit| known(visit.call)) {
        return Ok(());
    }
    Err(Failure::Nonsense(
        "a stepped poll contradicts itself".to_owned(),
    ))
}

#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
#[cfg(test)]
mod tests;
