//! A dump: the await trees of the tracked tasks and the stacks of the threads.

use std::{
    collections::HashMap,
    io::Write,
    time::{Duration, Instant},
};

use rtops_protocol::{
    CodeRange, End, Leaf, LeafEnd, Module, ModuleKind, Obtained, Process, ProtocolError, Reply,
    SourceLocation, StackId, StackParts, Stacks, StringId, Strings, Task, TaskKind, TaskState,
    Thread, ThreadCapture, WakerState,
};
use rtops_tasks::{
    Entry, Kind, Probed, ProbedState, RuntimeTag, Shortfall, Sink, StackCopy, Wakers, probe_all,
};
use rtops_threads::{Capturer, Missing, Slice, Tid};
use rtops_unwind::{Outcome, Registers, StackSlice, StackTable, Unwinder};

use crate::{
    config::Capability,
    exchange::Identity,
    runtimes,
    serve::{Role, own_thread},
};

/// How many records go into one frame; each is well under 1 KiB.
const RECORDS_A_FRAME: usize = 1024;
/// How many addresses go into one frame, at up to nine bytes each.
const ADDRESSES_A_FRAME: usize = 64 << 10;
/// How many bytes of text go into one frame.
const TEXT_A_FRAME: usize = 256 << 10;
/// Longer texts are cut: the type of a deeply nested future can take a megabyte.
const MAX_TEXT: usize = 4 << 10;
/// How many addresses a dump keeps in all, so that its memory stays under 64 MiB.
const MAX_ADDRESSES: usize = 4 << 20;
/// The part of a dump's time that is kept for the threads.
const THREADS_TIME: Duration = Duration::from_secs(2);

/// The service's author switched off what was asked for.
pub(crate) struct Disabled(pub(crate) &'static str);

/// Everything that a dump found out, ready to be sent.
pub(crate) struct Dump {
    process: Process,
    modules: Vec<Module>,
    strings: Interner,
    stacks: StackTable,
    tasks: Vec<Task>,
    threads: Vec<Thread>,
    gaps: Vec<String>,
}

/// Takes a dump, by the deadline.
pub(crate) fn take(
    identity: &Identity,
    parts: StackParts,
    deadline: Instant,
) -> Result<Dump, Disabled> {
    let wants_tasks = parts != StackParts::Threads;
    let wants_threads = parts != StackParts::Tasks;
    if wants_tasks && !identity.options.has(Capability::Tasks) && !wants_threads {
        return Err(Disabled("tasks"));
    }
    if wants_threads && identity.capturer.is_none() && !wants_tasks {
        return Err(Disabled("thread stacks"));
    }
    let mut collector = Collector::new();
    let probed = if wants_tasks && identity.options.has(Capability::Tasks) {
        collector.tasks(deadline)
    } else {
        Vec::new()
    };
    let alive_on_tokio = runtimes::alive_tasks();
    let threads = match parts {
        StackParts::Tasks => Which::Polling(running_threads(&probed)),
        StackParts::Threads | StackParts::All => Which::All,
    };
    collector.threads(identity.capturer.as_ref(), &threads, deadline);
    if wants_tasks && !identity.options.has(Capability::Tasks) {
        collector.gap("this service's agent has tasks switched off");
    }
    Ok(collector.finish(identity, probed, alive_on_tokio))
}

fn running_threads(probed: &[Probed]) -> Vec<i32> {
    probed
        .iter()
        .filter_map(|task| match task.state {
            ProbedState::Running(tid) => Some(tid),
            _ => None,
        })
        .collect()
}

/// Which threads a dump is about.
enum Which {
    All,
    /// Those that are inside the poll of a task.
    Polling(Vec<i32>),
}

impl Which {
    fn has(&self, tid: i32) -> bool {
        match self {
            Self::All => true,
            Self::Polling(tids) => tids.contains(&tid),
        }
    }
}

/// Unwinds copies as they come in.
struct Collector {
    unwinder: Unwinder,
    stacks: StackTable,
    /// The leaves of the tasks, by their number in the dump.
    leaves: HashMap<usize, Vec<Leaf>>,
    threads: Vec<Thread>,
    gaps: Vec<String>,
    addresses: Vec<u64>,
    is_full: bool,
}

impl Sink for Collector {
    fn copied(&mut self, copy: &StackCopy<'_>) {
        for owner in copy.owners {
            let leaf = self.unwind(copy.ip, copy.sp, copy.bp, copy.bytes, Some(owner.base));
            if let Some(leaf) = leaf {
                self.leaves.entry(owner.index).or_default().push(leaf);
            }
        }
    }

    fn discard(&mut self, index: usize) {
        self.leaves.remove(&index);
    }
}

impl Collector {
    fn new() -> Self {
        let mut unwinder = Unwinder::new();
        unwinder.refresh();
        Self {
            unwinder,
            stacks: StackTable::new(MAX_ADDRESSES),
            leaves: HashMap::new(),
            threads: Vec::new(),
            gaps: Vec::new(),
            addresses: Vec::new(),
            is_full: false,
        }
    }

    fn gap(&mut self, sentence: &str) {
        self.gaps.push(sentence.to_owned());
    }

    fn unwind(
        &mut self,
        ip: u64,
        sp: u64,
        bp: u64,
        bytes: &[u8],
        base: Option<u64>,
    ) -> Option<Leaf> {
        self.addresses.clear();
        let slice = StackSlice {
            registers: Registers { ip, sp, bp },
            bytes,
        };
        let outcome = self.unwinder.unwind(&slice, base, &mut self.addresses);
        let Some(stack) = self.stacks.intern(&self.addresses) else {
            self.is_full = true;
            return None;
        };
        Some(Leaf {
            stack: StackId(stack.0),
            end: match outcome {
                Outcome::Root | Outcome::Base => LeafEnd::Complete,
                Outcome::Truncated | Outcome::TooDeep => LeafEnd::Truncated,
                Outcome::Lost => LeafEnd::Lost,
            },
        })
    }

    /// Probes the tasks, and leaves some of the time for the threads.
    fn tasks(&mut self, deadline: Instant) -> Vec<Probed> {
        let left = deadline.saturating_duration_since(Instant::now());
        let findings = probe_all(
            Instant::now() + (left / 2).max(left.saturating_sub(THREADS_TIME)),
            self,
        );
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
        findings.tasks
    }

    /// Lists the threads and takes their stacks.
    fn threads(&mut self, capturer: Option<&Capturer>, which: &Which, deadline: Instant) {
        let Ok(list) = rtops_threads::list() else {
            return self.gap("the threads can't be listed: /proc is not readable in the target");
        };
        let mut captures: HashMap<i32, ThreadCapture> = HashMap::new();
        let mut ended = Vec::new();
        if let Some(capturer) = capturer {
            let wanted: Vec<Tid> = list
                .iter()
                .map(|thread| thread.tid)
                .filter(|tid| which.has(tid.as_raw()) && own_thread(tid.as_raw()).is_none())
                .collect();
            // A library that a thread is in may have been loaded since the tasks were probed.
            self.unwinder.refresh();
            capturer.capture(&wanted, deadline, |tid, result| {
                match self.thread_capture(result) {
                    Some(capture) => drop(captures.insert(tid.as_raw(), capture)),
                    None => ended.push(tid),
                }
            });
        }
        let present = list.into_iter().filter(|thread| {
            which.has(thread.tid.as_raw())
                && !ended.contains(&thread.tid)
                && own_thread(thread.tid.as_raw()) != Some(Role::Client)
        });
        self.threads = present
            .map(|thread| {
                let tid = thread.tid.as_raw();
                Thread {
                    capture: match captures.get(&tid) {
                        Some(capture) => *capture,
                        None if own_thread(tid).is_some() => ThreadCapture::Agent,
                        None => ThreadCapture::Off,
                    },
                    tid,
                    name: thread.name,
                    state: thread.state,
                    wchan: thread.wchan,
                    syscall: thread.syscall,
                    cpu_ticks: thread.cpu_ticks,
                }
            })
            .collect();
    }

    /// `None` for a thread that has ended.
    fn thread_capture(&mut self, result: Result<Slice<'_>, Missing>) -> Option<ThreadCapture> {
        Some(match result {
            Ok(slice) => {
                let leaf = self.unwind(slice.ip, slice.sp, slice.bp, slice.bytes, None);
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

    fn finish(mut self, identity: &Identity, probed: Vec<Probed>, alive_on_tokio: u64) -> Dump {
        if self.is_full {
            self.gap("the target has more distinct stacks than a dump holds: some are missing");
        }
        let mut strings = Interner::default();
        let mut tasks = Vec::with_capacity(probed.len());
        let mut tracked_on_tokio = 0;
        for (index, task) in probed.iter().enumerate() {
            if task.state == ProbedState::Ended {
                continue;
            }
            let is_task = task.entry.kind() == Kind::Task;
            if is_task && task.entry.runtime() != RuntimeTag::default() {
                tracked_on_tokio += 1;
            }
            let leaves = self.leaves.remove(&index).unwrap_or_default();
            tasks.push(record(task, leaves, &mut strings));
        }
        Dump {
            process: Process {
                name: identity.name.clone(),
                tracked_on_tokio,
                alive_on_tokio,
            },
            modules: self.unwinder.modules().iter().map(module).collect(),
            strings,
            stacks: self.stacks,
            tasks,
            threads: self.threads,
            gaps: self.gaps,
        }
    }
}

fn record(task: &Probed, leaves: Vec<Leaf>, strings: &mut Interner) -> Task {
    let entry = &*task.entry;
    let site = entry.site();
    Task {
        id: entry.id().get(),
        parent: entry.parent().get(),
        kind: match entry.kind() {
            Kind::Span => TaskKind::Span,
            Kind::Blocking => TaskKind::Blocking,
            Kind::Task | Kind::Undecided => TaskKind::Task,
        },
        name: entry.name().map_or(StringId(0), |name| strings.id(name)),
        future_type: strings.id(entry.future_type()),
        site: SourceLocation {
            file: strings.id(site.file()),
            line: site.line(),
            column: site.column(),
        },
        runtime: runtimes::name(entry.runtime()).map_or(StringId(0), |name| strings.id(&name)),
        age_ns: nanos(entry.age()),
        polls: entry.polls(),
        state: state(task.state, entry),
        waker: match task.wakers {
            Wakers::NotKnown => WakerState::NotKnown,
            Wakers::Held(count) => WakerState::Held(count),
            Wakers::None => WakerState::None,
        },
        obtained: match task.state {
            ProbedState::Probed => Obtained::Probed,
            _ => Obtained::NotCaptured,
        },
        leaves,
    }
}

fn state(state: ProbedState, entry: &Entry) -> TaskState {
    let since_ns = nanos(entry.in_state_for());
    match state {
        ProbedState::New => TaskState::New { since_ns },
        ProbedState::Running(tid) => TaskState::Running { since_ns, tid },
        ProbedState::Starved => TaskState::Starved { since_ns },
        ProbedState::Probed | ProbedState::NotPolled | ProbedState::Ended => {
            TaskState::Suspended { since_ns }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn module(module: &rtops_unwind::Module) -> Module {
    Module {
        path: module.path.clone(),
        build_id: module.build_id.clone(),
        load_bias: module.load_bias,
        code: CodeRange {
            start: module.code.start,
            end: module.code.end,
        },
        kind: match module.kind {
            rtops_unwind::ModuleKind::MainExecutable => ModuleKind::MainExecutable,
            rtops_unwind::ModuleKind::Vdso => ModuleKind::Vdso,
            _ => ModuleKind::Library,
        },
    }
}

impl Dump {
    /// Sends it, in frames that the client takes.
    ///
    /// # Errors
    /// When the client is gone or too slow.
    pub(crate) fn send(self, client: &mut impl Write) -> Result<(), ProtocolError> {
        // Small frames are gathered, so that a small dump is one write.
        let mut client = std::io::BufWriter::with_capacity(64 << 10, client);
        Reply::Process(self.process).send(&mut client)?;
        Reply::Modules(self.modules).send(&mut client)?;
        self.strings.send(&mut client)?;
        send_stacks(&self.stacks, &mut client)?;
        for tasks in self.tasks.chunks(RECORDS_A_FRAME) {
            Reply::Tasks(tasks.to_vec()).send(&mut client)?;
        }
        for threads in self.threads.chunks(RECORDS_A_FRAME) {
            Reply::Threads(threads.to_vec()).send(&mut client)?;
        }
        Reply::End(End { gaps: self.gaps }).send(&mut client)?;
        Ok(client.flush()?)
    }
}

fn send_stacks(stacks: &StackTable, client: &mut impl Write) -> Result<(), ProtocolError> {
    let mut frame = Stacks::default();
    let mut addresses = 0;
    for (_, stack) in stacks.since(0) {
        if addresses + stack.len() > ADDRESSES_A_FRAME {
            Reply::Stacks(std::mem::take(&mut frame)).send(client)?;
            addresses = 0;
        }
        addresses += stack.len();
        frame.0.push(stack.to_vec());
    }
    Reply::Stacks(frame).send(client)
}

/// Numbers texts, each one once, from 1.
#[derive(Default)]
struct Interner {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Interner {
    fn id(&mut self, text: &str) -> StringId {
        let text = text
            .get(..text.floor_char_boundary(MAX_TEXT))
            .unwrap_or_default();
        if let Some(number) = self.numbers.get(text) {
            return StringId(*number);
        }
        self.texts.push(text.to_owned());
        let number = u32::try_from(self.texts.len()).unwrap_or(0);
        self.numbers.insert(text.to_owned(), number);
        StringId(number)
    }

    fn send(self, client: &mut impl Write) -> Result<(), ProtocolError> {
        let mut frame = Strings::default();
        let mut bytes = 0;
        for text in self.texts {
            if bytes + text.len() > TEXT_A_FRAME {
                Reply::Strings(std::mem::take(&mut frame)).send(client)?;
                bytes = 0;
            }
            bytes += text.len();
            frame.0.push(text);
        }
        Reply::Strings(frame).send(client)
    }
}
