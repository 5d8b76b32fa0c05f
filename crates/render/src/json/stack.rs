//! Await trees and thread stacks as JSON; `docs/operate/json.md` describes every field.

use std::{
    io::{self, Write},
    time::Duration,
};

use rtops_protocol::{Access, Afterwards, FoundBy, Signal, Thread, ThreadCapture, WakerState};
use rtops_report::{
    census::{Count, Kept, kept_by_type},
    crash,
    dump::Dump,
    frame::{Frame, FrameKind, Link},
    frames::Frames,
    group::{Look, TaskGroup},
    task::{Task, Tracked},
    threads::ThreadGroup,
    tree::Chain,
    view::View,
};
use rtops_symbols::{Serving, WaitReason};
use rtops_types::Pid;
use serde::Serialize;

use super::{
    claims::{HoldPart, WaitPart, holds, waits_for},
    shared::{SharedPart, shared},
    verdicts::VerdictsPart,
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: Process<'a>,
    /// Whether nothing is missing; otherwise `gaps` says what is.
    complete: bool,
    gaps: &'a [String],
    lacks: &'a [String],
    /// `null` if the process was not inspected from outside.
    outside: Option<OutsidePart<'a>>,
    /// `null` if the dump is not from a core file.
    core: Option<CorePart<'a>>,
    /// `null` if the dump was not judged.
    verdicts: Option<VerdictsPart<'a>>,
    tasks: Option<Tasks<'a>>,
    /// What tasks and threads wait for, and who else has its address in memory.
    shared: Option<Vec<SharedPart>>,
    threads: Option<Threads<'a>>,
}

/// How a process was inspected from outside.
#[derive(Debug, Serialize)]
pub struct OutsidePart<'a> {
    pause_ms: f64,
    /// Why it was read while it stood still.
    read_standing: Option<&'a str>,
    /// `null` if it was not copied.
    copy_ms: Option<f64>,
    threads_not_stopped: u64,
}

/// What ended the process of a core file.
#[derive(Debug, Serialize)]
pub struct CorePart<'a> {
    program: &'a str,
    arguments: &'a str,
    pid: Option<i32>,
    /// The head line of the text output.
    summary: String,
    signal: Option<SignalPart>,
    was_alive: bool,
    has_tokio: bool,
    /// The thread that got the signal.
    tid: Option<i32>,
    /// In UTC.
    time: Option<String>,
    host: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct SignalPart {
    number: i32,
    name: String,
    code: Option<i32>,
    /// The address of the fault.
    address: Option<String>,
    access: Option<&'static str>,
    sender_pid: Option<i32>,
    sender_uid: Option<u32>,
}

/// Identifies the process.
#[derive(Debug, Serialize)]
pub struct Process<'a> {
    pid: Pid,
    name: &'a str,
    agent_version: Option<&'a str>,
}

#[derive(Serialize)]
struct Tasks<'a> {
    total: usize,
    tracked_on_tokio: Option<u64>,
    alive_on_tokio: Option<u64>,
    /// Ended tasks that are kept by their join handles, by type.
    kept: Vec<Kept>,
    groups_total: usize,
    groups: Vec<TaskGroupPart<'a>>,
}

#[derive(Serialize)]
pub(super) struct TaskGroupPart<'a> {
    count: usize,
    #[serde(flatten)]
    look: &'a Look<'a>,
    waits: Vec<&'static str>,
    /// What is done for a request.
    serving: Option<&'static str>,
    /// Times are `null` if unknown.
    youngest_ns: Option<u64>,
    oldest_ns: Option<u64>,
    /// How long the tasks have been in their state.
    shortest_ns: Option<u64>,
    longest_ns: Option<u64>,
    stacks: Vec<Stack<'a>>,
    tasks: Vec<TaskPart<'a>>,
}

#[derive(Serialize)]
struct TaskPart<'a> {
    /// The agent's number; for untracked tasks, a number that is unique in the dump.
    id: u64,
    tracked: bool,
    /// tokio's own number for it, if known.
    tokio_id: Option<u64>,
    /// Which copy of tokio in the program it belongs to, from 0, if known.
    tokio: Option<u32>,
    /// The address of its cell, if known.
    cell: Option<String>,
    parent: Option<u64>,
    runtime: Option<&'a str>,
    age_ns: Option<u64>,
    /// How long it has been in its state.
    since_ns: Option<u64>,
    /// The thread that runs the task.
    tid: Option<i32>,
    polls: Option<u64>,
    /// How many of its wakers are held; `null` if unknown.
    wakers: Option<u32>,
    obtained: &'static str,
    /// Why it is unknown where it waits.
    reason: Option<&'static str>,
    /// Whether a handle can still join or abort it; `null` if unknown.
    join_handle: Option<bool>,
    /// The tasks whose handles it awaits, as far as known.
    awaits: Vec<u64>,
    waits_for: Vec<WaitPart<'a>>,
    holds: Vec<HoldPart<'a>>,
}

#[derive(Serialize)]
struct Stack<'a> {
    #[serde(flatten)]
    chain: &'a Chain,
    frames: Vec<FramePart<'a>>,
}

#[derive(Serialize)]
struct FramePart<'a> {
    #[serde(flatten)]
    frame: &'a Frame,
    /// `null` for a span.
    address: Option<String>,
}

impl<'a> Process<'a> {
    /// Creates the entry for a process whose agent was not asked.
    pub const fn without_agent(pid: Pid, name: &'a str) -> Self {
        Self {
            pid,
            name,
            agent_version: None,
        }
    }

    pub(super) fn of(view: &'a View<'_>) -> Self {
        Self {
            pid: view.pid,
            name: view.name,
            agent_version: view.agent_version,
        }
    }
}

#[derive(Serialize)]
struct Threads<'a> {
    total: usize,
    groups_total: usize,
    groups: Vec<ThreadGroupPart<'a>>,
}

#[derive(Serialize)]
pub(super) struct ThreadGroupPart<'a> {
    count: usize,
    /// Whether this is the thread that got the signal that ended the process.
    crashed: bool,
    state: Option<&'static str>,
    wait: Option<&'static str>,
    /// Whether the wait reason rests on function names alone.
    approximate: bool,
    /// Why the stack is missing or incomplete.
    remark: Option<&'a str>,
    frames: Vec<FramePart<'a>>,
    threads: Vec<ThreadPart<'a>>,
}

#[derive(Serialize)]
struct ThreadPart<'a> {
    tid: i32,
    name: Option<&'a str>,
    wchan: Option<&'a str>,
    syscall: Option<i64>,
    cpu_ticks: Option<u64>,
    captured: bool,
    afterwards: Option<AfterwardsPart>,
}

/// What a thread did after the look.
#[derive(Serialize)]
struct AfterwardsPart {
    watched_seconds: f64,
    ran_seconds: f64,
    queued_seconds: f64,
    timeslices: u64,
    state: char,
}

/// Prints the view as one document.
///
/// # Errors
/// If the writer fails.
pub fn json(writer: &mut impl Write, view: &View) -> io::Result<()> {
    let dump = view.dump;
    let document = Document {
        schema: super::SCHEMA,
        process: Process::of(view),
        complete: dump.gaps.is_empty(),
        gaps: &dump.gaps,
        lacks: &view.lacks,
        outside: outside_part(dump),
        core: CorePart::of(dump, view.frames),
        verdicts: view
            .verdicts
            .as_ref()
            .map(|judged| VerdictsPart::of(dump, judged)),
        tasks: view.tasks.as_ref().map(|groups| Tasks {
            total: Count::of(dump, view.frames).total(),
            tracked_on_tokio: dump.process.as_ref().and_then(|head| head.tracked_on_tokio),
            alive_on_tokio: dump.process.as_ref().and_then(|head| head.alive_on_tokio),
            kept: kept_by_type(dump, view.frames),
            groups_total: groups.len(),
            groups: groups
                .iter()
                .take(view.limit)
                .map(|group| task_group(view, group))
                .collect(),
        }),
        shared: view.tasks.as_ref().map(|_| shared(dump)),
        threads: view.threads.as_ref().map(|groups| Threads {
            total: dump.threads.len(),
            groups_total: groups.len(),
            groups: groups
                .iter()
                .take(view.limit)
                .map(|group| thread_group(view, group))
                .collect(),
        }),
    };
    super::write(writer, &document)
}

impl<'a> CorePart<'a> {
    /// Returns the part for a dump; `None` if it is not from a core file.
    pub fn of(dump: &'a Dump, frames: &Frames) -> Option<Self> {
        let core = dump.core.as_ref()?;
        Some(Self {
            program: &core.program,
            arguments: &core.arguments,
            pid: core.pid,
            summary: crash::sentence(dump, frames)?,
            signal: core.signal.as_ref().map(SignalPart::of),
            was_alive: core.was_alive,
            has_tokio: core.has_tokio,
            tid: core.thread,
            time: core.time.and_then(crash::utc),
            host: core.host.as_deref(),
        })
    }
}

impl SignalPart {
    fn of(signal: &Signal) -> Self {
        Self {
            number: signal.number,
            name: crash::name(signal.number),
            code: signal.code,
            address: signal.address.map(|address| format!("{address:#x}")),
            access: signal.access.map(|access| match access {
                Access::Read => "read",
                Access::Write => "write",
                Access::Execute => "execute",
            }),
            sender_pid: signal.sender.map(|sender| sender.pid),
            sender_uid: signal.sender.map(|sender| sender.uid),
        }
    }
}

/// Returns how a dump was taken, if from outside of a live process.
pub fn outside_part(dump: &Dump) -> Option<OutsidePart<'_>> {
    let outside = dump.outside.as_ref()?;
    Some(OutsidePart {
        pause_ms: outside.pause_ns as f64 / 1e6,
        read_standing: outside.read_standing.as_deref(),
        copy_ms: outside.copy_ns.map(|copy| copy as f64 / 1e6),
        threads_not_stopped: outside.threads_not_stopped,
    })
}

pub(super) fn task_group<'a>(view: &'a View<'_>, group: &'a TaskGroup<'_>) -> TaskGroupPart<'a> {
    let range = |(least, most)| (nanos(least), nanos(most));
    let (youngest_ns, oldest_ns) = group.ages().map(range).unzip();
    let (shortest_ns, longest_ns) = group.times().map(range).unzip();
    let stack = |chain: &'a Chain| Stack {
        chain,
        frames: frames(view.frames, &chain.links),
    };
    TaskGroupPart {
        count: group.tasks.len(),
        look: &group.look,
        waits: group.waits().iter().map(|wait| wait.as_str()).collect(),
        serving: group.serving().map(|serving| match serving {
            Serving::Handler => "handler",
            Serving::Response => "response",
        }),
        youngest_ns,
        oldest_ns,
        shortest_ns,
        longest_ns,
        stacks: group.chains.iter().map(stack).collect(),
        tasks: group
            .tasks
            .iter()
            .map(|task| task_part(view, group, task))
            .collect(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn task_part<'a>(view: &'a View<'_>, group: &TaskGroup, task: &Task) -> TaskPart<'a> {
    let tid = task.state.thread();
    let (tracked, memory) = (task.tracked(), task.memory());
    let reason = group.look.unresolved;
    TaskPart {
        id: view.dump.number(task.key),
        tracked: tracked.is_some(),
        tokio_id: memory.and_then(|memory| memory.number),
        tokio: memory.map(|memory| memory.tokio),
        cell: memory.and_then(|memory| memory.cell.map(|cell| format!("{cell:#x}"))),
        parent: task.parent().map(|parent| view.dump.number(parent)),
        runtime: tracked.and_then(|tracked| view.dump.string(tracked.runtime)),
        age_ns: tracked.map(|tracked| nanos(tracked.age)),
        since_ns: task.since().map(nanos),
        tid,
        polls: tracked.map(|tracked| tracked.polls),
        wakers: match task.waker {
            WakerState::NotKnown => None,
            WakerState::Held(count) => Some(count),
            WakerState::None => Some(0),
        },
        obtained: match reason {
            Some(_) => "not resolved",
            None => obtained(task, group.is_stepped),
        },
        reason: reason.map(|reason| reason.short),
        join_handle: memory.map(|memory| memory.has_join_handle),
        awaits: view
            .waits()
            .joined_by(task.key)
            .map(|of| view.dump.number(of.key))
            .collect(),
        waits_for: waits_for(&view.holders, task),
        holds: holds(&view.holders, task),
    }
}

/// Returns how the places where a task waits were found.
fn obtained(task: &Task, is_stepped: bool) -> &'static str {
    let was_probed = task.tracked().is_some_and(Tracked::was_probed);
    match task.found_by() {
        _ if is_stepped => "stepped",
        Some(FoundBy::Steps | FoundBy::Ready) => "stepped",
        Some(FoundBy::Thread) => "running",
        None if was_probed => "probed",
        _ => "not captured",
    }
}

fn afterwards(after: Afterwards) -> AfterwardsPart {
    let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
    AfterwardsPart {
        watched_seconds: seconds(after.watched_ns),
        ran_seconds: seconds(after.ran_ns),
        queued_seconds: seconds(after.queued_ns),
        timeslices: after.timeslices,
        state: after.state,
    }
}

pub(super) fn thread_group<'a>(
    view: &'a View<'_>,
    group: &'a ThreadGroup<'_>,
) -> ThreadGroupPart<'a> {
    let thread = |thread: &&'a Thread| ThreadPart {
        tid: thread.tid,
        name: thread.name.as_deref(),
        wchan: thread.wchan.as_deref(),
        syscall: thread.syscall,
        cpu_ticks: thread.cpu_ticks,
        captured: matches!(thread.capture, ThreadCapture::Stack(_)),
        afterwards: thread.afterwards.map(afterwards),
    };
    ThreadGroupPart {
        count: group.threads.len(),
        crashed: group.killed_by(view.dump).is_some(),
        state: group.state(),
        wait: group.wait.map(WaitReason::as_str),
        approximate: group.approximate,
        remark: group.remark.as_deref(),
        frames: frames(view.frames, &group.links),
        threads: group.threads.iter().map(thread).collect(),
    }
}

fn frames<'a>(frames: &'a Frames, links: &[Link]) -> Vec<FramePart<'a>> {
    let part = |link: &Link| {
        let frame = frames.get(link.frame)?;
        Some(FramePart {
            frame,
            address: (frame.kind == FrameKind::Code).then(|| format!("{:#x}", link.address)),
        })
    };
    links.iter().filter_map(part).collect()
}
