//! Receives a dump and checks it: afterwards every number in it names something.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{
    Claim, CopyOutcome, CopyReport, End, EndedSite, HandleSeen, LeafEnd, Module, Note, Process,
    ProtocolError, Refused, Reply, Resource, Saved, SourceLocation, StackId, StringId, Task,
    TaskKind, TaskNote, Thread, ThreadCapture, ThreadRun, Trace, Unwrapped,
};

use crate::{format, unwrapped};

/// The most tasks, threads, texts or stacks of each that are taken.
const MAX_ITEMS: usize = 2_000_000;
/// The most addresses in all stacks together, and leaves in all tasks together.
const MAX_ADDRESSES: usize = 32_000_000;
/// The most modules.
const MAX_MODULES: usize = 65_536;
/// The most stepped polls.
const MAX_TRACES: usize = 10_000;
/// Numbers beyond would run into those of others.
const MAX_TOKIO_ID: u64 = Unwrapped::FIRST - 1;
/// The most calls, and the most instructions, of one.
const MAX_STEPS: usize = 65_536;

/// A dump as it was received.
#[derive(Debug, Default)]
pub struct Dump {
    /// The head of the dump.
    pub process: Option<Process>,
    /// The modules that its addresses lie in.
    pub modules: Vec<Module>,
    /// The tracked futures, and the tasks that no wrapper tracks.
    pub tasks: Vec<Task>,
    /// The threads.
    pub threads: Vec<Thread>,
    /// More about some of the tasks.
    pub notes: Vec<TaskNote>,
    /// How often the threads ran.
    pub thread_runs: Vec<ThreadRun>,
    /// What has ended, by the place where it was made.
    pub ended_sites: Vec<EndedSite>,
    /// Locks that somebody waits for.
    pub resources: Vec<Resource>,
    /// Who holds and who waits for them.
    pub claims: Vec<Claim>,
    /// Handles of tasks, found where others wait.
    pub handles_seen: Vec<HandleSeen>,
    /// Polls that were stepped.
    pub traces: Vec<Trace>,
    /// What became of the copy of the process in which tasks were found that no wrapper tracks;
    /// absent where none was asked for.
    pub copy: Option<CopyReport>,
    /// Where and when it was saved; absent in one that comes from an agent.
    pub saved: Option<Saved>,
    /// Sentences that say what is missing.
    pub gaps: Vec<String>,
    /// Frames that a newer agent sent and that this build can't read.
    pub unknown_frames: usize,
    /// More about the tasks that no wrapper tracks, without their leaves.
    unwrapped: HashMap<u64, Unwrapped>,
    held_back: HashSet<u64>,
    strings: Vec<String>,
    stacks: Vec<Vec<u64>>,
    addresses: usize,
    leaves: usize,
}

/// Why there is no dump at all.
#[derive(Debug)]
pub enum Failure {
    /// The agent would not give one.
    Refused(Refused),
    /// The connection broke, or timed out, before anything of use.
    Lost(ProtocolError),
    /// It contradicts itself, or is too large to be honest.
    Nonsense(String),
}

impl Dump {
    /// Receives frames until the answer ends. What came before the connection broke is kept,
    /// with a gap that says so.
    ///
    /// # Errors
    /// When there is no dump at all.
    pub fn receive(
        mut next: impl FnMut() -> Result<Reply, ProtocolError>,
    ) -> Result<Self, Failure> {
        let mut dump = Self::default();
        loop {
            match next() {
                Ok(Reply::End(End { gaps })) => {
                    dump.gaps.extend(gaps);
                    dump.gaps.extend(dump.copy_refused());
                    return Ok(dump);
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
                    return Ok(dump);
                }
                Err(error) => return Err(Failure::Lost(error)),
            }
        }
    }

    /// The text with that number; `None` for no text.
    pub fn string(&self, id: StringId) -> Option<&str> {
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        self.strings.get(index).map(String::as_str)
    }

    /// What is known of a task of that number if no wrapper tracks it, and of none else.
    pub fn unwrapped(&self, task: u64) -> Option<&Unwrapped> {
        self.unwrapped.get(&task)
    }

    pub(crate) fn add_notes(&mut self, notes: Vec<TaskNote>) {
        let held_back = notes.iter().filter(|note| note.note == Note::HeldBack);
        self.held_back.extend(held_back.map(|note| note.task));
        self.notes.extend(notes);
    }

    /// Whether the task is polled in parts, one of which has ended while nobody asks for the next.
    pub fn is_held_back(&self, task: u64) -> bool {
        self.held_back.contains(&task)
    }

    /// All tasks that no wrapper tracks, in no order.
    pub fn all_unwrapped(&self) -> impl Iterator<Item = &Unwrapped> {
        self.unwrapped.values()
    }

    /// How many tasks of tokio's are known: tracked or not, without closures of blocking pools.
    pub fn known_on_tokio(&self) -> u64 {
        let tracked = self
            .process
            .as_ref()
            .map_or(0, |process| process.tracked_on_tokio);
        let tasks = self.tasks.iter();
        let unwrapped = tasks.filter(|task| self.unwrapped(task.id).is_some());
        let unwrapped = unwrapped.filter(|task| task.kind == TaskKind::Task);
        tracked.saturating_add(unwrapped.count() as u64)
    }

    /// Whether it holds all tasks of tokio's, as far as these can be found, and not only those that
    /// are tracked.
    pub fn has_unwrapped(&self) -> bool {
        let outcome = self.copy.as_ref().map(|copy| &copy.outcome);
        matches!(outcome, Some(CopyOutcome::Made | CopyOutcome::NotNeeded))
    }

    /// What is missing as no copy of the process was made, in a sentence; `None` where nothing is, or
    /// the service never allows one.
    pub fn copy_refused(&self) -> Option<String> {
        match &self.copy.as_ref()?.outcome {
            CopyOutcome::Refused(why) => Some(self.without_copy(why)),
            _ => None,
        }
    }

    /// The same where the service never allows one.
    pub fn copy_impossible(&self) -> Option<String> {
        match &self.copy.as_ref()?.outcome {
            CopyOutcome::Disabled => Some(self.without_copy("the service has switched that off")),
            CopyOutcome::Unsupported(why) => Some(self.without_copy(why)),
            _ => None,
        }
    }

    fn without_copy(&self, why: &str) -> String {
        let process = self.process.as_ref();
        let missing = process.map_or(0, |process| {
            let alive = process.alive_on_tokio;
            alive.saturating_sub(process.tracked_on_tokio)
        });
        let what = match usize::try_from(missing).unwrap_or(usize::MAX) {
            0 => "tasks that no wrapper tracks are not shown".to_owned(),
            1 => "1 task that no wrapper tracks is not shown".to_owned(),
            tasks => format!(
                "{} that no wrapper tracks are not shown",
                format::count(tasks, "task")
            ),
        };
        format!("{what}: no copy of the process was made, as {why}")
    }

    /// The addresses of a stack, innermost first.
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
                if let Some(task) = tasks.iter().find(|task| task.id >= Unwrapped::FIRST) {
                    let reason = format!("no tracked task has the number {}", task.id);
                    return Err(Failure::Nonsense(reason));
                }
                self.tasks.extend(tasks);
            }
            Reply::Threads(threads) => {
                for thread in &threads {
                    if let ThreadCapture::Stack(leaf) = thread.capture {
                        self.check_stack(leaf.stack)?;
                    }
                }
                self.threads.extend(threads);
            }
            Reply::Notes(notes) => self.add_notes(notes),
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
            Reply::ThreadRuns(runs) => self.thread_runs.extend(runs),
            Reply::Unwrapped(tasks) => {
                for task in tasks {
                    self.add_unwrapped(task)?;
                }
            }
            Reply::CopyReport(report) => self.copy = Some(report),
            Reply::Saved(saved) => self.saved = Some(saved),
            Reply::Unknown(_) => self.unknown_frames += 1,
            Reply::Summary(_) | Reply::Stats(_) | Reply::End(_) | Reply::Refused(_) => {
                return Err(Failure::Nonsense(
                    "a frame that is no part of a dump".to_owned(),
                ));
            }
            _ => self.unknown_frames += 1,
        }
        self.check_size()
    }

    fn add_unwrapped(&mut self, mut unwrapped: Unwrapped) -> Result<(), Failure> {
        if unwrapped.id > MAX_TOKIO_ID {
            let reason = format!("no task has the number {}", unwrapped.id);
            return Err(Failure::Nonsense(reason));
        }
        self.leaves += unwrapped.leaves.len();
        let task = unwrapped::task(&mut unwrapped);
        self.check_task(&task)?;
        if self.unwrapped.insert(task.id, unwrapped).is_some() {
            let reason = format!("two tasks of tokio's have the number {}", task.id);
            return Err(Failure::Nonsense(reason));
        }
        self.tasks.push(task);
        Ok(())
    }

    fn check_size(&self) -> Result<(), Failure> {
        for (count, limit, what) in [
            (self.modules.len(), MAX_MODULES, "modules"),
            (self.strings.len(), MAX_ITEMS, "texts"),
            (self.stacks.len(), MAX_ITEMS, "stacks"),
            (self.tasks.len(), MAX_ITEMS, "tasks"),
            (self.threads.len(), MAX_ITEMS, "threads"),
            (self.gaps.len(), MAX_ITEMS, "gaps"),
            (self.notes.len(), MAX_ITEMS, "notes"),
            (self.thread_runs.len(), MAX_ITEMS, "threads"),
            (self.ended_sites.len(), MAX_ITEMS, "places"),
            (self.resources.len(), MAX_ITEMS, "locks"),
            (self.claims.len(), MAX_ITEMS, "holders and waiters"),
            (self.handles_seen.len(), MAX_ITEMS, "handles"),
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

    fn check_task(&self, task: &Task) -> Result<(), Failure> {
        let SourceLocation { file, .. } = task.site;
        for text in [task.name, task.future_type, task.runtime, file] {
            self.check_text(text)?;
        }
        let mut stacks = task.leaves.iter().map(|leaf| leaf.stack);
        stacks.try_for_each(|stack| self.check_stack(stack))
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

/// Whether every call comes from an earlier one, and every visit belongs to one.
fn check_trace(trace: &Trace) -> Result<(), Failure> {
    let calls = trace.calls.iter().zip(0_u32..);
    let mut callers = calls.map(|(call, number)| (call.caller, number));
    let ordered = callers.all(|(caller, number)| caller < number || (caller, number) == (0, 0));
    let known = |call: u32| usize::try_from(call).is_ok_and(|call| call < trace.calls.len());
    let is_short = trace.calls.len().max(trace.visits.len()) <= MAX_STEPS;
    if is_short && ordered && trace.visits.iter().all(|visit| known(visit.call)) {
        return Ok(());
    }
    let reason = format!("the stepped poll of task {} contradicts itself", trace.task);
    Err(Failure::Nonsense(reason))
}

/// What to say of a stack that does not reach its root; `None` for one that does.
pub fn incomplete(end: LeafEnd) -> Option<&'static str> {
    match end {
        LeafEnd::Complete => None,
        LeafEnd::Truncated => {
            Some("(the callers are cut off: the stack is too deep to copy, or goes on elsewhere)")
        }
        LeafEnd::Lost => Some("(the callers are lost: a frame without unwind information)"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::io;

    use rtops_protocol::{
        FrameKind, Leaf, Obtained, Stacks, Strings, TaskKind, TaskState, WakerState,
    };

    use super::*;

    /// A suspended task with the given stacks.
    pub fn task(id: u64, name: u32, stacks: &[u32]) -> Task {
        Task {
            id,
            parent: 0,
            kind: TaskKind::Task,
            name: StringId(name),
            future_type: StringId(0),
            site: SourceLocation::default(),
            runtime: StringId(0),
            age_ns: id * 1_000_000_000,
            polls: 3,
            state: TaskState::Suspended {
                since_ns: id * 1_000_000_000,
            },
            waker: WakerState::Held(1),
            obtained: Obtained::Probed,
            leaves: stacks
                .iter()
                .map(|stack| Leaf {
                    stack: StackId(*stack),
                    end: LeafEnd::Complete,
                })
                .collect(),
        }
    }

    pub fn receive(replies: Vec<Reply>) -> Result<Dump, Failure> {
        let mut replies = replies.into_iter();
        Dump::receive(|| {
            replies
                .next()
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
        })
    }

    fn end() -> Reply {
        Reply::End(End { gaps: Vec::new() })
    }

    #[test]
    fn a_whole_dump_is_taken() {
        let dump = receive(vec![
            Reply::Strings(Strings(vec!["conn".to_owned()])),
            Reply::Stacks(Stacks(vec![vec![1, 2], vec![3]])),
            Reply::Strings(Strings(vec!["late".to_owned()])),
            Reply::Tasks(vec![task(1, 2, &[0, 1])]),
            Reply::Unknown(FrameKind(200)),
            end(),
        ])
        .unwrap();
        assert_eq!(dump.string(StringId(0)), None);
        assert_eq!(dump.string(StringId(1)), Some("conn"));
        assert_eq!(dump.string(StringId(2)), Some("late"));
        assert_eq!(dump.stack(StackId(0)), [1, 2]);
        assert_eq!(dump.unknown_frames, 1);
        assert!(dump.gaps.is_empty());
    }

    #[test]
    fn numbers_that_name_nothing_are_refused() {
        let strings = || Reply::Strings(Strings(vec!["a".to_owned()]));
        let stacks = || Reply::Stacks(Stacks(vec![vec![1]]));
        let bad = [
            task(1, 2, &[0]),
            task(1, u32::MAX, &[]),
            task(1, 1, &[1]),
            task(1, 1, &[0, u32::MAX]),
        ];
        for task in bad {
            let failure = receive(vec![strings(), stacks(), Reply::Tasks(vec![task]), end()]);
            assert!(matches!(failure, Err(Failure::Nonsense(_))));
        }
        receive(vec![
            strings(),
            stacks(),
            Reply::Tasks(vec![task(1, 1, &[0])]),
            end(),
        ])
        .unwrap();
    }

    #[test]
    fn a_name_must_come_before_its_use() {
        let failure = receive(vec![
            Reply::Tasks(vec![task(1, 1, &[])]),
            Reply::Strings(Strings(vec!["a".to_owned()])),
            end(),
        ]);
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }

    #[test]
    fn what_came_before_a_break_is_kept_and_marked() {
        let dump = receive(vec![Reply::Tasks(vec![task(1, 0, &[])])]).unwrap();
        assert_eq!(dump.tasks.len(), 1);
        assert_eq!(dump.gaps.len(), 1);
    }

    #[test]
    fn a_break_before_anything_is_a_failure() {
        assert!(matches!(receive(Vec::new()), Err(Failure::Lost(_))));
    }

    #[test]
    fn a_frame_of_another_answer_is_refused() {
        let stats = Reply::Stats(rtops_protocol::Stats::default());
        assert!(matches!(receive(vec![stats]), Err(Failure::Nonsense(_))));
    }

    #[test]
    fn endless_empty_stacks_end() {
        let failure = Dump::receive(|| Ok(Reply::Stacks(Stacks(vec![Vec::new(); 100_000]))));
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }
}
