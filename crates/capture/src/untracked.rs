//! Untracked tasks: from a copy of this process into records.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    time::{Duration, Instant},
};

use rtops_protocol::{
    CopyDetail, CopyOutcome, CopyReport, CopyRequest, CopyWhen, FoundBy, Leaf, LeafEnd,
    ProtocolError, Reply, StackId, TraceId, Unresolved, Untracked, UntrackedState,
};
use rtops_step::Refusal as NoSteps;
use rtops_tasks::{Kind, Probed, ProbedState};
use rtops_threads::Tid;
use rtops_tokio_cells::{
    Cell, CellState, GiveUp, NoCopy, Observer, Outcome, Plan, Refusal, StackCopy, Survey, Wanted,
};

use crate::{
    Host,
    collect::{Collector, on_tokio},
    steps::Traces,
};

/// After so much of the time that is left no more polls are stepped, in percent.
const STEPPING_SHARE: u32 = 75;
/// How many records go into one frame.
const RECORDS_A_FRAME: usize = 1024;

/// What came of the wish for a copy.
pub(super) struct FoundUntracked {
    report: CopyReport,
    survey: Survey,
    /// The threads of closures that are tracked.
    closures: HashSet<i32>,
}

/// Makes a copy if it is wanted, and looks at the tasks in it.
pub(super) fn find(
    host: &dyn Host,
    collector: &mut Collector<'_>,
    request: CopyRequest,
    probed: &[Probed],
    deadline: Instant,
) -> FoundUntracked {
    let tracked = u64::try_from(on_tokio(probed)).unwrap_or(u64::MAX);
    let mut outcome = CopyOutcome::Made;
    let mut survey = Survey::default();
    if !host.may_copy() {
        outcome = CopyOutcome::Disabled;
    } else if request.when == CopyWhen::Needed && are_all_tracked(host, tracked) {
        outcome = CopyOutcome::NotNeeded;
    } else {
        match host.capturer() {
            None => {
                let why = "this agent can't interrupt threads, which a copy needs";
                outcome = CopyOutcome::Unsupported(why.to_owned());
            }
            Some(capturer) => {
                let spare: Vec<Tid> = host.own_threads().into_iter().map(Tid::new).collect();
                let plan = Plan {
                    capturer,
                    spare: &spare,
                    max_pause: Duration::from_micros(u64::from(request.max_pause_us)),
                    deadline,
                };
                match take(host, collector, &plan, request.detail) {
                    Ok(found) => survey = found,
                    Err(refusal) => outcome = CopyOutcome::Refused(sentence(&refusal)),
                }
            }
        }
    }
    if survey.is_cut_short {
        collector.gap("the copy of the process ended before all tasks were looked at");
    }
    if let Some(why) = survey.no_steps {
        collector.gap(&format!(
            "no poll could be stepped, as {}: places where tasks wait without a waker may be missing",
            no_steps(why)
        ));
    }
    if survey.kinds_not_stepped > 0 {
        collector.gap(&format!(
            "there was no time to step polls of {} kinds of tasks: places where they wait without a waker \
             may be missing; try a longer --timeout",
            survey.kinds_not_stepped
        ));
    }
    let is_task = |cell: &&Cell| !matches!(cell.state, CellState::Blocking(_));
    let others = survey.cells.iter().filter(is_task).count();
    let report = CopyReport {
        outcome,
        pause_ns: nanos(survey.times.pause),
        lived_ns: nanos(survey.times.lived),
        tasks: survey.tracked + u64::try_from(others).unwrap_or(u64::MAX),
        tracked: survey.tracked,
        stepped: u64::try_from(survey.traces.len()).unwrap_or(u64::MAX),
    };
    FoundUntracked {
        report,
        survey,
        closures: threads_of_closures(probed),
    }
}

/// The threads on which tracked closures run: such a closure has left its cell, so that only its thread
/// tells whose it is.
fn threads_of_closures(probed: &[Probed]) -> HashSet<i32> {
    let closures = probed
        .iter()
        .filter(|task| task.entry.kind() == Kind::Blocking);
    let threads = closures.filter_map(|task| match task.state {
        ProbedState::Running(thread) => Some(thread),
        _ => None,
    });
    threads.collect()
}

/// Where no runtime is known, tasks may run on one that the agent has not seen.
fn are_all_tracked(host: &dyn Host, tracked: u64) -> bool {
    tracked > 0 && host.alive_tasks().is_none_or(|alive| alive <= tracked)
}

fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoCopy(NoCopy::TooLong { .. }) => {
            format!("{refusal}: a longer --max-pause allows it")
        }
        _ => refusal.to_string(),
    }
}

/// Why nothing can be stepped, to go on with after "as".
const fn no_steps(why: NoSteps) -> &'static str {
    match why {
        NoSteps::Unsupported => "this platform gives no way to",
        NoSteps::NoMemory => "the process has no memory for it",
        NoSteps::Traced => "a debugger is attached",
        NoSteps::SignalBlocked => "SIGTRAP is blocked",
        NoSteps::HandlerReplaced => "the process handles SIGTRAP itself",
        NoSteps::Busy => "another poll was being stepped",
        NoSteps::System(_) => "the system refused what it needs",
    }
}

fn take(
    host: &dyn Host,
    collector: &mut Collector<'_>,
    plan: &Plan<'_>,
    detail: CopyDetail,
) -> Result<Survey, Refusal> {
    let now = Instant::now();
    let left = plan.deadline.saturating_duration_since(now);
    let wanted = Wanted {
        trees: detail == CopyDetail::Trees,
        steps: detail == CopyDetail::Trees && host.may_step(),
        step_until: now + left / 100 * STEPPING_SHARE,
    };
    let mut observer = CopyObserver {
        collector,
        tracked: tracked_headers(),
        is_complete: false,
    };
    let mut result = None;
    // Futures that ask for their runtime in each poll find one.
    host.in_runtime(&mut || result = Some(Survey::take(plan, wanted, &mut observer)));
    result.unwrap_or(Err(Refusal::Failed(rtops_tokio_cells::Failed::Lost)))
}

/// Where the cells of tracked tasks are: their wakers lead there.
fn tracked_headers() -> HashSet<usize> {
    let addresses = rtops_tasks::waker_addresses().into_iter();
    addresses.map(|(address, _)| address).collect()
}

struct CopyObserver<'a, 'b> {
    collector: &'a mut Collector<'b>,
    tracked: HashSet<usize>,
    /// Whether those are known, too, that came between the first look and the copy.
    is_complete: bool,
}

impl Observer for CopyObserver<'_, '_> {
    fn marks(&self) -> Vec<usize> {
        rtops_tasks::entry_addresses()
    }

    fn is_tracked(&mut self, header: usize) -> bool {
        if !self.is_complete {
            self.is_complete = true;
            self.tracked.extend(tracked_headers());
        }
        self.tracked.contains(&header)
    }

    fn unwind(&mut self, copy: &StackCopy<'_>) -> Option<u32> {
        let leaf = self
            .collector
            .unwind(copy.ip, copy.sp, copy.bp, copy.bytes, copy.base)?;
        pack(leaf)
    }
}

/// A leaf as one number.
fn pack(leaf: Leaf) -> Option<u32> {
    let end = match leaf.end {
        LeafEnd::Complete => 0,
        LeafEnd::Truncated => 1,
        LeafEnd::Lost => 2,
        LeafEnd::Absent | LeafEnd::Abridged => 3,
    };
    Some(leaf.stack.0.checked_mul(4)? | end)
}

const fn unpack(number: u32) -> Leaf {
    Leaf {
        stack: StackId(number / 4),
        end: match number % 4 {
            0 => LeafEnd::Complete,
            1 => LeafEnd::Truncated,
            2 => LeafEnd::Lost,
            _ => LeafEnd::Absent,
        },
    }
}

impl FoundUntracked {
    /// Sends the traces and records; the stacks were sent before.
    pub(super) fn send<'a>(
        &'a self,
        traces: &mut Traces<'a>,
        client: &mut impl Write,
    ) -> Result<(), ProtocolError> {
        let stepped = self.survey.traces.iter();
        let stepped = stepped.map(|(position, trace)| Ok((*position, traces.send(trace, client)?)));
        let stepped: HashMap<usize, TraceId> = stepped.collect::<Result<_, ProtocolError>>()?;
        let positions: Vec<usize> = (0..self.survey.cells.len()).collect();
        for positions in positions.chunks(RECORDS_A_FRAME) {
            let records = positions.iter();
            let records = records.filter_map(|position| {
                let trace = stepped.get(position).copied();
                self.record(*position, trace)
            });
            Reply::Untracked(records.collect()).send(client)?;
        }
        Reply::CopyReport(self.report.clone()).send(client)
    }

    fn record(&self, position: usize, trace: Option<TraceId>) -> Option<Untracked> {
        let cell = self.survey.cells.get(position)?;
        if matches!(cell.state, CellState::Blocking(Some(thread)) if self.closures.contains(&thread))
        {
            return None;
        }
        let mut leaves: Vec<Leaf> = self.survey.leaves(position).map(unpack).collect();
        let tid = match cell.state {
            CellState::Running(tid) | CellState::Blocking(tid) => tid.filter(|tid| *tid != 0),
            CellState::Idle | CellState::Woken => None,
        };
        let stack = tid.and_then(|tid| self.survey.threads.get(&tid));
        leaves.extend(stack.map(|number| unpack(*number)));
        // Where tokio is another one, its numbers may be elsewhere in the cell.
        let is_known = cell.outcome != Outcome::Foreign;
        Some(Untracked {
            number: is_known.then_some(cell.id),
            tokio: u32::from(!is_known),
            cell: None,
            poll: cell.poll,
            boxed_poll: (cell.boxed_poll != 0).then_some(cell.boxed_poll),
            state: match cell.state {
                CellState::Idle => UntrackedState::Idle,
                CellState::Woken => UntrackedState::Woken,
                CellState::Running(_) => UntrackedState::Running { tid },
                CellState::Blocking(_) => UntrackedState::Blocking { tid },
            },
            wakers: cell.wakers,
            has_join_handle: cell.has_join_handle,
            found_by: found_by(cell, stack.is_some()),
            trace,
            leaves,
        })
    }
}

fn found_by(cell: &Cell, has_stack: bool) -> FoundBy {
    match (cell.state, cell.outcome) {
        (CellState::Running(_) | CellState::Blocking(_), _) if has_stack => FoundBy::Thread,
        (CellState::Running(_) | CellState::Blocking(_), _) => {
            FoundBy::Unresolved(Unresolved::NoThread)
        }
        (_, Outcome::Foreign) => FoundBy::Unresolved(Unresolved::OtherTokio),
        (CellState::Woken, _) => FoundBy::Unresolved(Unresolved::Woken),
        (CellState::Idle, Outcome::Hooked) => FoundBy::Hook,
        (CellState::Idle, Outcome::Stepped) => FoundBy::Steps,
        (CellState::Idle, Outcome::Ready) => FoundBy::Unresolved(Unresolved::Ready),
        (CellState::Idle, Outcome::NotAsked) => FoundBy::Unresolved(Unresolved::NotAsked),
        (CellState::Idle, Outcome::NotPolled) => FoundBy::Unresolved(Unresolved::NoTime),
        (CellState::Idle, Outcome::GivenUp(why)) => FoundBy::Unresolved(match why {
            GiveUp::Locked => Unresolved::Locked,
            GiveUp::Fault => Unresolved::Fault,
            GiveUp::Endless => Unresolved::Endless,
            GiveUp::Exit => Unresolved::Exit,
            GiveUp::Panic => Unresolved::Panic,
            GiveUp::SystemCall => Unresolved::SystemCall,
        }),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
