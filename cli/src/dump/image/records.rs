//! Turns what was found in an image into the records of a dump.

use std::{collections::HashMap, time::SystemTime};

use nix::libc;
use rtops_cells::{Inventory, Resumed, Stack, State, Task, Version};
use rtops_image::{Gap, Image, ImageModule, Tid};
use rtops_protocol::{
    self as protocol, Call, End, FoundBy, Leaf, LeafEnd, OnRuntime, Outside, Party, Process, Reply,
    Saved, Shared, SharedKind, StackId, Stacks, ThreadCapture, Trace, TraceEnd, TraceId,
    TraceOrder, Unresolved, Untracked, UntrackedLeaf, UntrackedState, Visit,
};
use rtops_report::{escape::escape, format};
use rtops_unwind::Outcome;

use super::{Origin, Subject, core};
use crate::dump;

/// How many stacks, and how many other records, go into one frame.
const STACKS: usize = 128;
const RECORDS: usize = 1024;
/// How many parties (those who wait for something or hold it) are reported, and how many per frame.
const PARTIES: usize = 20_000;

/// Returns the first frame of a saved dump.
pub fn saved(subject: &Subject<'_>, at: SystemTime) -> Saved {
    Saved {
        taken: dump::seconds(at),
        host: subject.host.clone(),
        pid: subject.pid,
        inner_pid: subject.pid.as_raw(),
        start_time: subject.start_time,
        agent_version: None,
        rtops_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns the head of a dump without an agent.
pub fn process(subject: &Subject<'_>) -> Reply {
    Reply::Process(Process {
        name: subject.name.clone(),
        tracked_on_tokio: None,
        alive_on_tokio: None,
        tracking: None,
    })
}

/// Returns all that was found; `late` is missing besides what image and inventory lack.
pub fn replies(
    image: &impl Image,
    subject: &Subject<'_>,
    inventory: &Inventory,
    late: Vec<String>,
) -> Vec<Reply> {
    let mut replies = vec![match &subject.origin {
        Origin::Core(core) => Reply::Core(core::head(core, inventory)),
        Origin::Outside(outside) => Reply::Outside(Outside {
            has_tokio: has_tokio(inventory),
            ..outside.clone()
        }),
    }];
    let modules: Vec<_> = image.modules().iter().map(ImageModule::module).collect();
    replies.extend(batches(modules, RECORDS, Reply::Modules));
    // The stacks of threads come after those of leaves.
    let mut stacks = inventory.leaves.clone();
    stacks.extend(
        inventory
            .threads
            .iter()
            .map(|stack| stack.addresses.clone()),
    );
    replies.extend(batches(stacks, STACKS, |stacks| {
        Reply::Stacks(Stacks(stacks))
    }));
    let on_threads: HashMap<Tid, Leaf> = inventory
        .threads
        .iter()
        .zip(inventory.leaves.len()..)
        .map(|(stack, number)| (stack.tid, leaf(number, end(stack))))
        .collect();
    let threads = image.threads().iter().map(|thread| protocol::Thread {
        tid: subject.inner(thread.tid),
        name: subject.thread_names.get(&thread.tid).cloned(),
        state: runs(thread).then_some('R'),
        wchan: None,
        syscall: i64::try_from(thread.registers.orig_rax).ok(),
        cpu_ticks: None,
        timeslices: None,
        afterwards: subject.afterwards.get(&thread.tid).copied(),
        capture: on_threads
            .get(&thread.tid)
            .map_or(ThreadCapture::Absent, |leaf| ThreadCapture::Stack(*leaf)),
    });
    replies.extend(batches(threads.collect(), RECORDS, Reply::Threads));
    let why = given_up(inventory);
    let traces = inventory.traces.iter().zip(0..);
    replies.extend(traces.map(|(one, number)| trace(one, why.get(&number).copied())));
    let tasks = inventory.tasks.iter();
    let tasks = tasks.map(|task| untracked(image, subject, task, &on_threads));
    replies.extend(batches(tasks.collect(), RECORDS, Reply::Untracked));
    let resumed = inventory.resumed.iter();
    let resumed = resumed.map(|resumed| block_on(image, subject, inventory, resumed));
    replies.extend(batches(resumed.collect(), RECORDS, Reply::Untracked));
    let kept = inventory.kept.iter();
    let kept = kept.flat_map(|(poll, count)| std::iter::repeat_n(completed(*poll), *count));
    replies.extend(batches(kept.collect(), RECORDS, Reply::Untracked));
    replies.extend(on_runtimes(subject, inventory));
    replies.extend(all_shared(subject, inventory));
    let gaps = late.into_iter().chain(gaps(subject.gaps, inventory));
    replies.push(Reply::End(End {
        gaps: gaps.collect(),
    }));
    replies
}

/// Whether there is any sign of tokio.
pub fn has_tokio(inventory: &Inventory) -> bool {
    !(inventory.versions.is_empty() && inventory.tasks.is_empty() && inventory.kept.is_empty())
}

/// Whether a thread is in the system call of all futex operations, but not to wait there.
fn runs(thread: &rtops_image::Thread) -> bool {
    let operation = i32::try_from(thread.registers.rsi & 0x7f).unwrap_or(libc::FUTEX_WAIT);
    let waits = [
        libc::FUTEX_WAIT,
        libc::FUTEX_WAIT_BITSET,
        libc::FUTEX_WAIT_REQUEUE_PI,
        libc::FUTEX_LOCK_PI,
        libc::FUTEX_LOCK_PI2,
    ];
    i64::try_from(thread.registers.orig_rax) == Ok(libc::SYS_futex) && !waits.contains(&operation)
}

/// Lists what is missing, most important first. Every core lacks memory that was never touched: it
/// is worth a word only if a poll needed some of it, and the image lacks nothing else.
fn gaps(of_image: &[Gap], inventory: &Inventory) -> Vec<String> {
    let faulted = |task: &Task| task.unresolved == Some(rtops_cells::Unresolved::Fault);
    let is_missed = inventory.tasks.iter().any(faulted);
    let left_out = |gap: &&Gap| matches!(gap, Gap::LeftOut { .. });
    let text = |gap: &Gap| escape(&gap.to_string()).into_owned();
    let others = of_image.iter().filter(|gap| !left_out(gap));
    let mut gaps: Vec<String> = others.map(text).collect();
    let lacks_nothing_else = gaps.is_empty();
    gaps.extend(late(inventory));
    let has_none = inventory.tasks.is_empty();
    let versions = inventory.versions.iter();
    gaps.extend(versions.filter_map(|version| untried(*version, has_none)));
    for (instruction, polls) in &inventory.unknown_instructions {
        gaps.push(format!(
            "{polls} polls came to the instruction {instruction}, which rtops does not know"
        ));
    }
    if is_missed && lacks_nothing_else {
        gaps.extend(of_image.iter().filter(left_out).map(text));
    }
    gaps
}

/// Says how many tasks were not polled for lack of time.
fn late(inventory: &Inventory) -> Option<String> {
    let waits = |task: &&Task| matches!(task.state, State::Idle | State::Woken);
    let all = inventory.tasks.iter().filter(waits).count();
    let is_late = |task: &&Task| task.unresolved == Some(rtops_cells::Unresolved::NoTime);
    let late = inventory.tasks.iter().filter(is_late).count();
    (late > 0).then(|| {
        let all = format::count(all, "task");
        format!("the time was up before {late} of {all} could be polled; raise --timeout")
    })
}

/// Says that rtops was not tried with a version of tokio. A newer one may work all the same.
fn untried(version: Version, has_no_tasks: bool) -> Option<String> {
    let (relation, limit, which) = if version < Version::OLDEST {
        ("older", Version::OLDEST, "oldest")
    } else if version > Version::NEWEST && has_no_tasks {
        ("newer", Version::NEWEST, "newest")
    } else {
        return None;
    };
    let Version { major, minor, .. } = limit;
    Some(format!(
        "the program has tokio {version}, which is {relation} than {major}.{minor}, the {which} that \
         rtops was tried with: tasks may be missing"
    ))
}

fn batches<T: Clone>(all: Vec<T>, size: usize, reply: impl Fn(Vec<T>) -> Reply) -> Vec<Reply> {
    all.chunks(size)
        .map(|batch| reply(batch.to_vec()))
        .collect()
}

fn leaf(stack: usize, end: LeafEnd) -> Leaf {
    Leaf {
        stack: StackId(u32::try_from(stack).unwrap_or(u32::MAX)),
        end,
    }
}

const fn end(stack: &Stack) -> LeafEnd {
    match stack.outcome {
        Outcome::Root | Outcome::Base if stack.is_abridged => LeafEnd::Abridged,
        Outcome::Root | Outcome::Base => LeafEnd::Complete,
        Outcome::Truncated => LeafEnd::Absent,
        Outcome::TooDeep => LeafEnd::Truncated,
        Outcome::Lost => LeafEnd::Lost,
    }
}

/// Maps each trace to why its polls were given up: they all stopped at the same instruction.
fn given_up(inventory: &Inventory) -> HashMap<u32, Unresolved> {
    let tasks = inventory.tasks.iter();
    let tasks = tasks.filter_map(|task| Some((task.trace?, unresolved(task.unresolved?))));
    tasks.collect()
}

/// Makes the record of a trace, with why its poll was given up, if known.
fn trace(trace: &rtops_cells::Trace, why: Option<Unresolved>) -> Reply {
    let calls = trace.calls.iter().map(|call| Call {
        caller: call.caller,
        site: call.site,
    });
    let visits = trace.visits.iter().map(|visit| Visit {
        call: visit.call,
        ip: visit.ip,
    });
    Reply::Trace(Trace {
        end: match (trace.is_whole, why) {
            (true, _) => TraceEnd::Whole,
            (false, Some(why)) => TraceEnd::GivenUp(why),
            (false, None) => TraceEnd::TooLong,
        },
        order: match trace.order {
            rtops_cells::VisitOrder::First => TraceOrder::FirstRun,
            rtops_cells::VisitOrder::Last => TraceOrder::LastRun,
        },
        calls: calls.collect(),
        visits: visits.collect(),
    })
}

/// Says which tasks and threads belong together, in as many frames as each runtime's tasks need.
fn on_runtimes(subject: &Subject<'_>, inventory: &Inventory) -> Vec<Reply> {
    let mut cells: HashMap<(u32, u64), Vec<u64>> = HashMap::new();
    for task in &inventory.tasks {
        let of_runtime = cells.entry((task.copy, task.owner)).or_default();
        of_runtime.push(task.cell);
    }
    let runtimes = inventory.runtimes.iter().zip(0..);
    let replies = runtimes.flat_map(|(runtime, number)| {
        let cells = cells.remove(&(runtime.copy, runtime.owner));
        let threads = runtime.threads.iter().take(PARTIES);
        let threads: Vec<i32> = threads.map(|tid| subject.inner(*tid)).collect();
        batches(cells.unwrap_or_default(), PARTIES, |cells| {
            Reply::OnRuntime(OnRuntime {
                number,
                threads: threads.clone(),
                cells,
            })
        })
    });
    replies.collect()
}

/// Returns everything that is waited for, in as many frames as all its parties need.
fn all_shared(subject: &Subject<'_>, inventory: &Inventory) -> Vec<Reply> {
    let mut frames: Vec<Vec<Shared>> = Vec::new();
    let mut room = 0;
    for one in inventory.shared.iter().map(|one| shared(subject, one)) {
        let parties = 1 + one.waiters.len() + one.others.len() + one.holders.len();
        match frames.last_mut().filter(|_| parties <= room) {
            Some(frame) => frame.push(one),
            None => {
                room = PARTIES;
                frames.push(vec![one]);
            }
        }
        room = room.saturating_sub(parties);
    }
    frames.into_iter().map(Reply::Shared).collect()
}

fn shared(subject: &Subject<'_>, shared: &rtops_cells::Shared) -> Shared {
    let party = |party: &rtops_cells::Party| match *party {
        rtops_cells::Party::Task { cell } => Party::Task { cell },
        rtops_cells::Party::BlockOn { tid } => Party::BlockOn {
            tid: subject.inner(tid),
        },
        rtops_cells::Party::Thread { tid } => Party::Thread {
            tid: subject.inner(tid),
        },
    };
    let parties = |all: &[rtops_cells::Party]| all.iter().take(PARTIES).map(party).collect();
    Shared {
        address: shared.address,
        kind: match shared.kind {
            rtops_cells::SharedKind::Queue => SharedKind::Queue,
            rtops_cells::SharedKind::Slot => SharedKind::Slot,
            rtops_cells::SharedKind::Lock => SharedKind::Lock,
        },
        waiters: parties(&shared.waiters),
        others: parties(&shared.others),
        holders: parties(&shared.holders),
        is_complete: shared.is_complete,
    }
}

fn untracked(
    image: &impl Image,
    subject: &Subject<'_>,
    task: &Task,
    on_threads: &HashMap<Tid, Leaf>,
) -> Untracked {
    let inner = |tid: Option<Tid>| tid.map(|tid| subject.inner(tid));
    let polled = task.leaves.iter().map(polled);
    let running = match task.state {
        State::Running { tid } | State::Blocking { tid } => tid,
        _ => None,
    };
    let running = running.and_then(|tid| on_threads.get(&tid).copied());
    Untracked {
        number: task.number,
        tokio: task.copy,
        cell: Some(task.cell),
        mark: subject.marks.of_task(image, task),
        poll: task.poll,
        boxed_poll: task.boxed_poll,
        state: match task.state {
            State::Idle => UntrackedState::Idle,
            State::Woken => UntrackedState::Woken,
            State::Running { tid } => UntrackedState::Running { tid: inner(tid) },
            State::Queued => UntrackedState::Queued,
            State::Blocking { tid } => UntrackedState::Blocking { tid: inner(tid) },
        },
        wakers: u32::try_from(task.wakers).unwrap_or(u32::MAX),
        has_join_handle: task.has_join_handle,
        found_by: match (task.unresolved, running) {
            // The beginning of its poll shows where it continues, however the poll ends.
            (why, None) if task.state == State::Woken && !lacks_beginning(why) => FoundBy::Steps,
            (Some(rtops_cells::Unresolved::Ready), _) => FoundBy::Ready,
            (Some(why), _) => FoundBy::Unresolved(unresolved(why)),
            (None, Some(_)) => FoundBy::Thread,
            (None, None) if task.trace.is_some() => FoundBy::Steps,
            (None, None) => FoundBy::Unresolved(Unresolved::NotAsked),
        },
        trace: task.trace.map(TraceId),
        polled: marks(&task.noted),
        wakes_itself: task.wakes_itself.map(|stack| Leaf {
            stack: StackId(stack),
            end: LeafEnd::Complete,
        }),
        leaves: polled.chain(running.map(UntrackedLeaf::from)).collect(),
    }
}

/// Returns the marks of the tracked futures for which the agent's code noted a waker.
fn marks(noted: &[u64]) -> Vec<u64> {
    /// Two words, as [`Tracking::keeps_waker`](protocol::Tracking::keeps_waker) says.
    const BEHIND_THE_MARK: u64 = 16;
    let marks = noted.iter().map(|at| at.wrapping_sub(BEHIND_THE_MARK));
    marks.collect()
}

/// Makes the record of where a poll registered a waker.
fn polled(at: &rtops_cells::Leaf) -> UntrackedLeaf {
    UntrackedLeaf {
        leaf: leaf(at.stack as usize, LeafEnd::Complete),
        awaits: at.awaits,
        inside: at.note.unwrap_or(0),
    }
}

/// Whether a poll may have stopped before it reached the place where its task is.
const fn lacks_beginning(why: Option<rtops_cells::Unresolved>) -> bool {
    use rtops_cells::Unresolved as Why;
    matches!(
        why,
        Some(Why::Fault | Why::UnknownInstruction | Why::Locked | Why::NoTime)
    )
}

const fn unresolved(why: rtops_cells::Unresolved) -> Unresolved {
    use rtops_cells::Unresolved as Why;
    match why {
        Why::Locked => Unresolved::Locked,
        Why::Fault => Unresolved::Fault,
        Why::Endless => Unresolved::Endless,
        Why::Exit => Unresolved::Exit,
        Why::Panic => Unresolved::Panic,
        Why::SystemCall => Unresolved::SystemCall,
        Why::UnknownInstruction => Unresolved::Instruction,
        Why::Ready => Unresolved::Ready,
        Why::NoTime => Unresolved::NoTime,
        Why::NoThread => Unresolved::NoThread,
        Why::OtherStack => Unresolved::OtherStack,
    }
}

/// Makes the record of a future that a thread polls itself. The code that polls it shows its type.
fn block_on(
    image: &impl Image,
    subject: &Subject<'_>,
    inventory: &Inventory,
    resumed: &Resumed,
) -> Untracked {
    let trace = inventory.traces.get(resumed.trace as usize);
    let first = trace.and_then(|trace| trace.visits.first());
    Untracked {
        mark: subject.marks.of_thread(image, resumed.tid),
        state: UntrackedState::BlockOn {
            tid: subject.inner(resumed.tid),
        },
        found_by: FoundBy::Steps,
        trace: Some(TraceId(resumed.trace)),
        leaves: resumed.leaves.iter().map(polled).collect(),
        polled: marks(&resumed.noted),
        ..completed(first.map_or(0, |visit| visit.ip))
    }
}

/// Makes the record of what is left of a task that has ended.
const fn completed(poll: u64) -> Untracked {
    Untracked {
        number: None,
        tokio: 0,
        cell: None,
        mark: None,
        poll,
        boxed_poll: None,
        state: UntrackedState::Completed,
        wakers: 0,
        has_join_handle: true,
        found_by: FoundBy::Unresolved(Unresolved::NotAsked),
        trace: None,
        leaves: Vec::new(),
        polled: Vec::new(),
        wakes_itself: None,
    }
}
