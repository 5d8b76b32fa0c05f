//! Turns a dump into frames.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    io::{BufWriter, Write},
    panic::Location,
    time::Duration,
};

use rtops_protocol::{
    End, EndedSite, HandleSeen, Leaf, Obtained, Process, ProtocolError, Reply, SourceLocation,
    Stacks, StringId, Strings, Task, TaskKind, TaskState, Thread, WakerState, cut,
};
use rtops_sync::Contended;
use rtops_tasks::{Kind, Monotonic, Probed, ProbedState, Wakers};
use rtops_unwind::Unwinder;

use crate::{Evidence, Host, claims, leaves::SortedLeaves, stack_table::StackTable};

/// The number of records in a frame. Each is well under 1 KiB.
const RECORDS_A_FRAME: usize = 1024;
/// The number of addresses in a frame, of up to nine bytes each.
const ADDRESSES_A_FRAME: usize = 64 << 10;
/// The number of bytes of text in a frame.
const TEXT_A_FRAME: usize = 256 << 10;
/// The maximum length of a text. Longer ones are cut: the type of a deeply nested
/// future can take a megabyte.
const MAX_TEXT: usize = 4 << 10;
/// The number of texts that are remembered, to send each only once. There may be as
/// many names as tasks.
const MAX_REMEMBERED: usize = 64 << 10;

/// Everything that a dump found out.
pub struct Dump<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) process: Process,
    pub(super) unwinder: Unwinder,
    pub(super) stacks: StackTable,
    pub(super) tasks: Vec<Probed>,
    pub(super) leaves: SortedLeaves,
    pub(super) threads: Vec<Thread>,
    pub(super) handles_seen: Vec<(usize, HandleSeen)>,
    pub(super) contended: Vec<Contended>,
    pub(super) evidence: Evidence,
    pub(super) gaps: Vec<String>,
}

impl Dump<'_> {
    /// Sends the dump, in frames that the client accepts.
    ///
    /// # Errors
    /// If the client is gone or too slow.
    pub fn send(self, client: &mut impl Write) -> Result<(), ProtocolError> {
        // Small frames are buffered, so that a small dump is one write.
        let mut client = BufWriter::with_capacity(64 << 10, client);
        Reply::Process(self.process).send(&mut client)?;
        Reply::Modules(self.unwinder.modules().to_vec()).send(&mut client)?;
        send_stacks(&self.stacks, &mut client)?;
        let mut texts = Texts::default();
        let cancelled = match self.evidence {
            Evidence::Full => rtops_tasks::cancelled(),
            _ => HashSet::new(),
        };
        let mut records = Vec::with_capacity(RECORDS_A_FRAME.min(self.tasks.len()));
        for (index, task) in self.tasks.iter().enumerate() {
            if task.state != ProbedState::Ended {
                let leaves = self.leaves.of(index);
                let is_orphan = cancelled.contains(&task.entry.parent());
                records.push(Task {
                    is_orphan,
                    ..record(self.host, task, leaves, &mut texts)
                });
            }
            if records.len() == RECORDS_A_FRAME {
                texts.send_new(&mut client)?;
                Reply::Tasks(std::mem::take(&mut records)).send(&mut client)?;
            }
        }
        texts.send_new(&mut client)?;
        Reply::Tasks(records).send(&mut client)?;
        if self.evidence == Evidence::Full {
            send_ended_sites(&mut texts, &mut client)?;
            send_claims(&self.contended, &mut texts, &mut client)?;
            let handles: Vec<_> = self.handles_seen.iter().map(|(_, seen)| *seen).collect();
            in_frames(handles, Reply::HandlesSeen, &mut client)?;
        }
        in_frames(self.threads, Reply::Threads, &mut client)?;
        Reply::End(End { gaps: self.gaps }).send(&mut client)?;
        Ok(client.flush()?)
    }
}

fn send_ended_sites(texts: &mut Texts, client: &mut impl Write) -> Result<(), ProtocolError> {
    let now = Monotonic::now();
    let sites = rtops_tasks::ended_sites()
        .into_iter()
        .map(|ended| EndedSite {
            site: location(ended.site, texts),
            ended: ended.ended,
            last_ns: nanos(now.since(ended.last)),
        });
    let sites = sites.collect();
    texts.send_new(client)?;
    in_frames(sites, Reply::EndedSites, client)
}

fn send_claims(
    contended: &[Contended],
    texts: &mut Texts,
    client: &mut impl Write,
) -> Result<(), ProtocolError> {
    let (resources, claims) = claims::records(contended, texts);
    texts.send_new(client)?;
    in_frames(resources, Reply::Resources, client)?;
    in_frames(claims, Reply::Claims, client)
}

/// Sends records in frames of a bounded size. Sends no frame if there are none.
fn in_frames<T: Clone>(
    records: Vec<T>,
    frame: fn(Vec<T>) -> Reply,
    client: &mut impl Write,
) -> Result<(), ProtocolError> {
    let mut frames = records.chunks(RECORDS_A_FRAME);
    frames.try_for_each(|records| frame(records.to_vec()).send(client))
}

pub(super) fn location(site: &Location<'_>, texts: &mut Texts) -> SourceLocation {
    SourceLocation {
        file: texts.id(site.file()),
        line: site.line(),
        column: site.column(),
    }
}

fn record(host: &dyn Host, task: &Probed, leaves: Vec<Leaf>, texts: &mut Texts) -> Task {
    let entry = &task.entry;
    Task {
        id: entry.id().get(),
        parent: entry.parent().get(),
        kind: match entry.kind() {
            Kind::Span => TaskKind::Span,
            Kind::Blocking => TaskKind::Blocking,
            Kind::Task | Kind::Undecided => TaskKind::Task,
        },
        name: entry.name().map_or(StringId(0), |name| texts.id(name)),
        future_type: texts.id(entry.future_type()),
        site: location(entry.site(), texts),
        runtime: host
            .runtime_name(entry.runtime())
            .map_or(StringId(0), |name| texts.id(&name)),
        age_ns: nanos(task.age),
        polls: entry.polls(),
        state: state(task.state, nanos(task.in_state_for)),
        waker: match task.wakers {
            Wakers::NotKnown => WakerState::NotKnown,
            Wakers::Held(count) => WakerState::Held(count),
            Wakers::None => WakerState::None,
        },
        obtained: match task.state {
            ProbedState::Probed => Obtained::Probed,
            _ => Obtained::NotCaptured,
        },
        mark: entry.mark(),
        cell: entry.waker_address(),
        lost_wakers: task.lost_wakers,
        is_orphan: false,
        leaves,
    }
}

fn state(state: ProbedState, since_ns: u64) -> TaskState {
    match state {
        ProbedState::New => TaskState::New { since_ns },
        ProbedState::Running(tid) => TaskState::Running { since_ns, tid },
        ProbedState::Starved => TaskState::Starved { since_ns },
        ProbedState::HeldBack => TaskState::HeldBack { since_ns },
        ProbedState::Probed | ProbedState::NotPolled | ProbedState::Ended => {
            TaskState::Suspended { since_ns }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn send_stacks(stacks: &StackTable, client: &mut impl Write) -> Result<(), ProtocolError> {
    let mut frame = Stacks::default();
    let mut addresses = 0;
    for stack in stacks.iter() {
        if addresses + stack.len() > ADDRESSES_A_FRAME {
            Reply::Stacks(std::mem::take(&mut frame)).send(client)?;
            addresses = 0;
        }
        addresses += stack.len();
        frame.0.push(stack.to_vec());
    }
    Reply::Stacks(frame).send(client)
}

/// Numbers texts, from 1.
#[derive(Default)]
pub(super) struct Texts {
    numbers: HashMap<String, u32>,
    last: u32,
    /// Numbered, but not sent yet.
    new: Vec<String>,
}

impl Texts {
    /// Returns the number of a text; 0 for an empty one.
    pub(super) fn id_or_none(&mut self, text: &str) -> StringId {
        if text.is_empty() {
            StringId(0)
        } else {
            self.id(text)
        }
    }

    fn id(&mut self, text: &str) -> StringId {
        let text = cut(text, MAX_TEXT);
        if let Some(number) = self.numbers.get(text) {
            return StringId(*number);
        }
        if self.numbers.len() == MAX_REMEMBERED {
            self.numbers.clear();
        }
        self.last = self.last.wrapping_add(1);
        self.numbers.insert(text.to_owned(), self.last);
        self.new.push(text.to_owned());
        StringId(self.last)
    }

    fn send_new(&mut self, client: &mut impl Write) -> Result<(), ProtocolError> {
        let mut frame = Strings::default();
        let mut bytes = 0;
        for text in self.new.drain(..) {
            if bytes + text.len() > TEXT_A_FRAME {
                Reply::Strings(std::mem::take(&mut frame)).send(client)?;
                bytes = 0;
            }
            bytes += text.len();
            frame.0.push(text);
        }
        if frame.0.is_empty() {
            return Ok(());
        }
        Reply::Strings(frame).send(client)
    }
}

impl fmt::Debug for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump")
            .field("process", &self.process)
            .field("tasks", &self.tasks.len())
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}
