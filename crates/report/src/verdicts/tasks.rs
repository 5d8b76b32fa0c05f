//! Faults of tasks that can't go on, or make no progress.

use std::time::Duration;

use rtops_protocol::Shared;
use rtops_symbols::{WaitEnd, WaitReason};

use super::{
    Fault, Verdict, afterwards,
    facts::{Facts, thread_name},
};
use crate::{
    format,
    group::TaskGroup,
    leaks::deadlock::Deadlock,
    spans::Spans,
    task::{State, Task},
    waits::{Waits, WaitsFor},
    words,
};

/// About a task that waits for something it holds itself.
const OWN_FUTURE: &str =
    "it has that itself, or a future of its own that it does not poll meanwhile has it";
/// Said if no other holder of what a task waits for is known.
const ONLY_ITSELF: &str = "only it is known to hold";
/// The most places named in one verdict.
pub(super) const MAX_PLACES: usize = 5;
/// More polls a second than this are not useful work.
const BUSY: f64 = 10_000.0;
/// A shorter wait may be about to end.
const SETTLED: Duration = Duration::from_secs(1);

/// Finds circles of tasks that wait for one another.
pub(super) fn deadlocks<'a>(
    facts: &mut Facts<'_, 'a>,
    waits: &Waits<'a>,
    circles: &[Deadlock<'a>],
) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    for deadlock in circles {
        let mut verdict = Verdict::new(Fault::Deadlock, deadlock.why());
        let steps = deadlock.groups.iter().flat_map(|group| &group.tasks);
        verdict.tasks = steps.copied().collect();
        let groups = deadlock.groups.iter();
        let places = groups.map(|group| facts.group(group, group.tasks.len()));
        verdict.evidence = places.collect();
        if let [step] = deadlock.example.steps.as_slice()
            && matches!(step.waits_for, WaitsFor::Shared(..))
        {
            verdict.evidence.push(OWN_FUTURE.to_owned());
        }
        let all: Vec<&Task> = deadlock.tasks().filter_map(|key| waits.task(key)).collect();
        facts.take(&all, &[]);
        let is_cause = |task: &&Task| verdict.tasks.iter().any(|one| one.key == task.key);
        verdict.victims = all.into_iter().filter(|task| !is_cause(task)).collect();
        verdicts.push(verdict);
    }
    verdicts
}

/// Finds what tasks wait for while all holders wait for work, or for more of the same: nothing of it is
/// released before they get that.
pub(super) fn exhausted<'a>(facts: &mut Facts<'_, 'a>, waits: &Waits<'a>) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    // A task that waits to be notified waits for work, as do those that would notify it.
    let held = waits.held().into_iter();
    for (shared, reason, mut waiters) in
        held.filter(|(_, reason, _)| reason.end() == WaitEnd::Contended)
    {
        waiters.retain(|task| facts.is_free(task));
        let Some(holders) = Holders::of(facts, shared, &waiters) else {
            continue;
        };
        // Workers of one queue take turns: one waits for work, the others for its place.
        let take_turns = |task: &&Task| {
            let group = facts.group_of(task.key);
            group.is_some_and(|group| facts.idioms.is_shared_queue(group))
        };
        if waiters.iter().all(take_turns) {
            continue;
        }
        let verb = if waiters.len() == 1 { "waits" } else { "wait" };
        let waiting = format::count(waiters.len(), "task");
        let held = holders.of_what(waiters.len());
        let mut verdict = Verdict::new(
            Fault::Exhausted,
            format!("{waiting} {verb} ({reason}) for what {held}"),
        );
        let wait = format::list(facts.tasks(&waiters));
        verdict.evidence = vec![format!("wait: {wait}")];
        verdict.tasks = [holders.more, holders.work].concat();
        verdict.evidence.push(match held.as_str() {
            ONLY_ITSELF => OWN_FUTURE.to_owned(),
            _ => format!("hold: {}", format::list(facts.tasks(&verdict.tasks))),
        });
        facts.take(&waiters, &[]);
        verdict.victims = waiters;
        verdicts.push(verdict);
    }
    verdicts
}

/// The tasks that hold what others wait for, and release it only after somebody else has acted.
struct Holders<'a> {
    /// Holders that wait for more of it.
    more: Vec<&'a Task>,
    /// Holders that wait for work.
    work: Vec<&'a Task>,
}

impl<'a> Holders<'a> {
    /// Returns `None` if one of them may release it, or if no holder is known.
    fn of(facts: &Facts<'_, 'a>, shared: &Shared, waiters: &[&Task]) -> Option<Self> {
        let waits_for_it = |holder: &&Task| waiters.iter().any(|waiter| waiter.key == holder.key);
        let holders = facts.holders(shared)?.into_iter();
        let (more, work): (Vec<_>, Vec<_>) = holders.partition(|holder| waits_for_it(holder));
        // A task that runs may be about to release it.
        let may_end = !more.is_empty() && facts.runs(&shared.others);
        let is_stuck = !may_end && work.iter().all(|holder| facts.waits_for_work(holder));
        (is_stuck && !waiters.is_empty()).then_some(Self { more, work })
    }

    /// Returns who holds it, such as `2 of them hold`, where this many tasks wait.
    fn of_what(&self, waiters: usize) -> String {
        let more = match self.more.len() {
            0 => None,
            1 if waiters == 1 && self.work.is_empty() => Some(ONLY_ITSELF.to_owned()),
            1 => Some("1 of them holds".to_owned()),
            some => Some(format!("{some} of them hold")),
        };
        let work = match self.work.len() {
            0 => None,
            1 => Some("1 task holds while it waits for work".to_owned()),
            some => Some(format!("{some} tasks hold while they wait for work")),
        };
        let both: Vec<String> = more.into_iter().chain(work).collect();
        both.join(", and ")
    }
}

/// Finds tasks that nothing can wake.
pub(super) fn never<'a>(facts: &mut Facts<'_, 'a>, waits: &Waits<'a>) -> Option<Verdict<'a>> {
    let tasks = facts.free_of(|group| group.look.state == State::Never);
    let (verb, them) = match tasks.len() {
        0 => return None,
        1 => ("waits", "it"),
        _ => ("wait", "them"),
    };
    let places = facts.tasks(&tasks);
    let what = match places.as_slice() {
        [only] => only.clone(),
        _ => format::count(tasks.len(), "task"),
    };
    let mut verdict = Verdict::new(
        Fault::Never,
        format!("{what} {verb}, and no waker exists: nothing can poll {them} again"),
    );
    if places.len() > 1 {
        verdict.evidence = format::first(MAX_PLACES, &places, "place", Clone::clone);
    }
    facts.take(&tasks, &[]);
    verdict.victims = behind(facts, waits, &tasks);
    if !verdict.victims.is_empty() {
        let behind = format::list(facts.tasks(&verdict.victims));
        verdict.evidence.push(format!("behind: {behind}"));
    }
    facts.take(&verdict.victims, &[]);
    verdict.tasks = tasks;
    Some(verdict)
}

/// Returns the tasks that wait for something that only these tasks hold.
fn behind<'a>(facts: &Facts<'_, 'a>, waits: &Waits<'a>, tasks: &[&Task]) -> Vec<&'a Task> {
    let is_one = |holder: &&'a Task| tasks.iter().any(|task| task.key == holder.key);
    let held = waits.held().into_iter();
    let held = held.filter(|(shared, reason, _)| {
        // More permits may be out than those with a proven holder.
        let are_all = *reason == WaitReason::MutexLock || shared.is_complete;
        let holders = facts.holders(shared).filter(|_| are_all);
        holders.is_some_and(|holders| holders.iter().all(is_one))
    });
    let waiters = held.flat_map(|(_, _, waiters)| waiters);
    waiters.filter(|task| facts.is_free(task)).collect()
}

/// Finds tasks that could have gone on for long but were not woken.
pub(super) fn lost_wake_ups<'a>(facts: &mut Facts<'_, 'a>) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    for group in facts
        .groups
        .iter()
        .filter(|group| group.look.state == State::Ready)
    {
        let mut tasks = facts.free(group);
        tasks.retain(|task| task.since().is_some_and(|since| since >= SETTLED));
        let Some(since) = tasks.iter().filter_map(|task| task.since()).max() else {
            continue;
        };
        let mut verdict = Verdict::new(
            Fault::LostWakeUp,
            format!(
                "{} could go on, and nobody has woken {} for {}",
                facts.group(group, tasks.len()),
                if tasks.len() == 1 { "it" } else { "them" },
                format::duration(since)
            ),
        );
        facts.take(&tasks, &[]);
        verdict.tasks = tasks;
        verdicts.push(verdict);
    }
    verdicts
}

/// Finds tasks that are polled all the time, or wake themselves in every poll.
pub(super) fn livelock<'a>(facts: &mut Facts<'_, 'a>) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    // A task that wakes itself once and then waits, to yield to others, costs no time.
    let threads = || facts.dump.threads.iter();
    let at_rest = afterwards::all_rested(facts.dump);
    let busy: Vec<String> = threads()
        .filter(|thread| afterwards::is_busy(thread))
        .filter_map(|thread| {
            Some(format!(
                "{} {}",
                thread_name(thread),
                afterwards::has_used([thread])?
            ))
        })
        .collect();
    for group in facts.groups {
        let is_busy = |task: &&Task| rate(task).is_some_and(|rate| rate >= BUSY);
        let mut tasks = facts.free(group);
        tasks.retain(|task| is_busy(task) || (!at_rest && wakes_itself(facts, task, group)));
        let fastest = tasks.iter().filter(|task| is_busy(task));
        let fastest = fastest.filter_map(|task| rate(task)).reduce(f64::max);
        if tasks.is_empty() {
            continue;
        }
        let what = facts.group(group, tasks.len());
        let verb = if tasks.len() == 1 { "is" } else { "are" };
        let at = woken_at(facts, &tasks);
        let sentence = match fastest {
            Some(rate) => format!("{what} {verb} polled {rate:.0} times a second{at}"),
            None => {
                format!("{what} {verb} polled again and again: each poll asks for the next{at}")
            }
        };
        let mut verdict = Verdict::new(Fault::Livelock, sentence);
        verdict.evidence = format::first(MAX_PLACES, &busy, "thread", Clone::clone);
        facts.take(&tasks, &[]);
        verdict.tasks = tasks;
        verdicts.push(verdict);
    }
    verdicts
}

/// Whether each poll of a task wakes it, other than to yield to others.
fn wakes_itself(facts: &Facts, task: &Task, group: &TaskGroup) -> bool {
    let gives_turn = |wait: &WaitReason| {
        matches!(
            wait,
            WaitReason::CoopBudget | WaitReason::FuturesContainer | WaitReason::Yield
        )
    };
    let wake = task.memory().and_then(|memory| memory.wakes_itself);
    wake.is_some_and(|wake| {
        let wait = facts.frames.task_wait(facts.frames.stack(wake.stack));
        !wait.iter().chain(&group.waits()).any(gives_turn)
    })
}

/// Returns `, at src/main.rs:11`, the place where one of these tasks wakes itself.
fn woken_at(facts: &Facts, tasks: &[&Task]) -> String {
    let mut wakes = tasks.iter().filter_map(|task| task.memory()?.wakes_itself);
    let place = wakes.find_map(|wake| facts.frames.own_place(facts.frames.stack(wake.stack)));
    place.map_or_else(String::new, |place| format!(", at {place}"))
}

/// Returns how often a task was polled per second of its life.
fn rate(task: &Task) -> Option<f64> {
    let tracked = task.tracked().filter(|tracked| tracked.age >= SETTLED)?;
    #[expect(clippy::cast_precision_loss, reason = "for a figure that people read")]
    Some(tracked.polls as f64 / tracked.age.as_secs_f64())
}

/// Finds tasks that were woken but that no thread polls.
pub(super) fn starved<'a>(facts: &mut Facts<'_, 'a>) -> Option<Verdict<'a>> {
    let tasks = facts.free_of(|group| group.look.state == State::Starved);
    if tasks.is_empty() {
        return None;
    }
    let verb = if tasks.len() == 1 { "was" } else { "were" };
    let mut verdict = Verdict::new(
        Fault::Starved,
        format!(
            "{} {verb} woken, and no thread polls them",
            format::count(tasks.len(), "task")
        ),
    );
    verdict.evidence = facts.tasks(&tasks);
    facts.take(&tasks, &[]);
    verdict.tasks = tasks;
    Some(verdict)
}

/// Finds tasks that wait for others to release something and meanwhile do not poll
/// their own spans, which may hold it.
pub(super) fn not_polled<'a>(facts: &mut Facts<'_, 'a>) -> Vec<Verdict<'a>> {
    let spans = Spans::of(facts.dump);
    let mut verdicts = Vec::new();
    for group in facts
        .groups
        .iter()
        .filter(|group| !group.look.silent.is_empty())
    {
        let waits = group.waits();
        if waits.is_empty() || waits.iter().any(|wait| wait.end() != WaitEnd::Contended) {
            continue;
        }
        let tasks = facts.free(group);
        let silent = tasks.iter().flat_map(|task| spans.inside(task.key));
        let silent: Vec<&Task> = silent.copied().filter(|span| is_left(span)).collect();
        let since = silent.iter().filter_map(|span| span.since()).max();
        let Some(since) = since.filter(|since| *since >= SETTLED) else {
            continue;
        };
        let verb = if tasks.len() == 1 { "does" } else { "do" };
        let mut verdict = Verdict::new(
            Fault::NotPolled,
            format!(
                "{} {verb} not poll {} for up to {}, which may have what is waited for",
                facts.group(group, tasks.len()),
                spans_of(group, silent.len()),
                format::duration(since)
            ),
        );
        facts.take(&tasks, &[]);
        verdict.tasks = tasks;
        verdict.victims = silent;
        verdicts.push(verdict);
    }
    verdicts
}

/// Whether a span is suspended with no place where it waits.
fn is_left(span: &Task) -> bool {
    span.state.is_suspended() && span.leaves.is_empty()
}

/// Returns `5 spans "row"`.
fn spans_of(group: &TaskGroup, count: usize) -> String {
    let names: Vec<String> = group
        .look
        .silent
        .iter()
        .map(|name| words::quoted(name))
        .collect();
    format!("{} {}", format::count(count, "span"), format::list(names))
}
