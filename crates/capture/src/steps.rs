//! Which tasks' polls are stepped, and what is sent of them.
//!
//! A few of each kind are enough: tasks that were spawned at one place and, as far as their stacks
//! tell, wait at the same places. A reader says so where others of a kind are shown by them.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Write,
    panic::Location,
};

use rtops_protocol::{
    Call, Leaf, NotStepped, Note, ProtocolError, Reply, Steps, TaskNote, Trace, TraceEnd, TraceId,
    TraceOrder, Visit,
};
use rtops_step::{End, Refusal};
use rtops_tasks::{Kind, Probed, ProbedState, Stepped, Wakers};

use crate::leaves::SortedLeaves;

/// How many tasks of a kind are stepped: if they differ, nothing is known of the others.
const OF_A_KIND: usize = 3;

/// How many are stepped in all: more kinds of tasks than any service has.
const MAX_CHOSEN: usize = 4_000;

/// What tasks of a kind have in common.
#[derive(Eq, Hash, PartialEq)]
struct Alike {
    site: &'static Location<'static>,
    future_type: &'static str,
    leaves: Vec<Leaf>,
}

/// The places in `found` of the tasks to step.
pub(super) fn choose(steps: Steps, found: &[Probed], leaves: &SortedLeaves) -> Vec<usize> {
    let is_wanted = |task: &Probed| {
        let waits = task.state == ProbedState::Probed && task.entry.kind() != Kind::Blocking;
        // The trace of the task around a span has the span's poll.
        waits
            && !task.is_inside
            && match steps {
                Steps::Proven => task.wakers == Wakers::None,
                Steps::Deep => true,
                _ => false,
            }
    };
    let mut counts: HashMap<Alike, usize> = HashMap::new();
    let mut chosen = Vec::new();
    for (index, task) in found.iter().enumerate().filter(|(_, task)| is_wanted(task)) {
        let mut leaves = leaves.of(index);
        leaves.sort_unstable_by_key(|leaf| leaf.stack.0);
        leaves.dedup();
        let alike = Alike {
            site: task.entry.site(),
            future_type: task.entry.future_type(),
            leaves,
        };
        let count = counts.entry(alike).or_default();
        if *count < OF_A_KIND && chosen.len() < MAX_CHOSEN {
            *count += 1;
            chosen.push(index);
        }
    }
    chosen
}

/// The traces of a dump, each distinct one once.
#[derive(Default)]
pub(super) struct Traces<'a> {
    sent: HashMap<(End, &'a [rtops_step::Call], &'a [rtops_step::Visit]), TraceId>,
}

impl<'a> Traces<'a> {
    /// Sends a trace, unless an equal one was sent before. Returns its number.
    pub(super) fn send(
        &mut self,
        trace: &'a rtops_step::Trace,
        client: &mut impl Write,
    ) -> Result<TraceId, ProtocolError> {
        let next = TraceId(u32::try_from(self.sent.len()).unwrap_or(u32::MAX));
        match self.sent.entry((trace.end, &trace.calls, &trace.visits)) {
            Entry::Occupied(sent) => Ok(*sent.get()),
            Entry::Vacant(new) => {
                Reply::Trace(record(trace)).send(client)?;
                Ok(*new.insert(next))
            }
        }
    }

    /// Sends those of the tasks that have not ended. Returns which is whose.
    pub(super) fn send_all(
        &mut self,
        stepped: &'a Stepped,
        found: &[Probed],
        client: &mut impl Write,
    ) -> Result<HashMap<usize, TraceId>, ProtocolError> {
        let alive = stepped.traces.iter();
        let alive = alive.filter(|(index, _)| alive_id(found, *index).is_some());
        alive
            .map(|(index, trace)| Ok((*index, self.send(trace, client)?)))
            .collect()
    }
}

fn record(trace: &rtops_step::Trace) -> Trace {
    Trace {
        end: match trace.end {
            End::Whole => TraceEnd::Whole,
            End::TooLong => TraceEnd::TooLong,
            End::Unsafe => TraceEnd::Unsafe,
        },
        order: TraceOrder::LastRun,
        calls: trace.calls.iter().map(call).collect(),
        visits: trace.visits.iter().map(visit).collect(),
    }
}

/// Why the others were not stepped.
pub(super) fn notes<'a>(
    stepped: &'a Stepped,
    found: &'a [Probed],
) -> impl Iterator<Item = TaskNote> + 'a {
    stepped.not_stepped.iter().filter_map(|(index, why)| {
        Some(TaskNote {
            task: alive_id(found, *index)?,
            note: Note::NotStepped(reason(*why)),
        })
    })
}

/// The number of a task in the process, unless it has ended.
fn alive_id(found: &[Probed], index: usize) -> Option<u64> {
    let task = found.get(index)?;
    (task.state != ProbedState::Ended).then(|| task.entry.id().get())
}

fn call(call: &rtops_step::Call) -> Call {
    Call {
        caller: call.caller,
        site: call.site,
    }
}

fn visit(visit: &rtops_step::Visit) -> Visit {
    Visit {
        call: visit.call,
        ip: visit.ip,
    }
}

fn reason(why: rtops_tasks::NotStepped) -> NotStepped {
    match why {
        rtops_tasks::NotStepped::NotPolled => NotStepped::NotPolled,
        rtops_tasks::NotStepped::NoTime => NotStepped::NoTime,
        rtops_tasks::NotStepped::Refused(refusal) => match refusal {
            Refusal::Unsupported => NotStepped::Unsupported,
            Refusal::NoMemory => NotStepped::NoMemory,
            Refusal::Traced => NotStepped::Traced,
            Refusal::SignalBlocked => NotStepped::SignalBlocked,
            Refusal::HandlerReplaced => NotStepped::HandlerReplaced,
            Refusal::Busy => NotStepped::Busy,
            Refusal::System(errno) => NotStepped::System(errno),
        },
    }
}
