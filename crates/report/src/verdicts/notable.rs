//! What is no fault in itself but deserves a look.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{TaskKind, Thread};
use rtops_symbols::WaitEnd;

use super::{Verdict, afterwards, facts::Facts};
use crate::{
    census::kept_by_type,
    escape::escape,
    format,
    group::TaskGroup,
    task::{State, Task, TaskKey},
};

/// The most places named in one sentence.
const MAX_NAMED: usize = 3;
/// Fewer ended tasks that are kept are not worth a mention.
const MANY_KEPT: usize = 8;
/// The function on the stack of a leaf that copies both ways between two ends.
const BOTH_WAYS: &str = "tokio::io::util::copy_bidirectional";

/// Returns one sentence for each kind of observation.
pub(super) fn of(facts: &Facts, verdicts: &[Verdict]) -> Vec<String> {
    let sentences = [
        contended(facts, verdicts),
        ready(facts, verdicts),
        half_closed(facts),
        kept(facts),
        busy(facts),
    ];
    sentences.into_iter().flatten().collect()
}

/// Tasks that wait for others to release something.
fn contended(facts: &Facts, verdicts: &[Verdict]) -> Option<String> {
    let waits_for_others = |group: &TaskGroup| {
        let waits = group.waits();
        group.look.state == State::Waiting
            && !facts.idioms.is_shared_queue(group)
            && !waits.is_empty()
            && waits.iter().all(|wait| wait.end() == WaitEnd::Contended)
    };
    let (count, places) = unexplained(facts, verdicts, waits_for_others)?;
    let verb = if count == 1 { "waits" } else { "wait" };
    let tasks = format::count(count, "task");
    Some(format!("{tasks} {verb} for others to let go: {places}"))
}

/// Tasks that could go on but were not woken, as happens for a moment whenever something arrives.
fn ready(facts: &Facts, verdicts: &[Verdict]) -> Option<String> {
    let (count, places) = unexplained(facts, verdicts, |group| group.look.state == State::Ready)?;
    let tasks = format::count(count, "task");
    Some(format!(
        "{tasks} could go on, and nobody has woken them: {places}"
    ))
}

/// For the groups that satisfy a predicate, returns how many tasks no verdict
/// explains, and their places.
fn unexplained(
    facts: &Facts,
    verdicts: &[Verdict],
    is_such: impl Fn(&TaskGroup) -> bool,
) -> Option<(usize, String)> {
    let explained = verdicts.iter().flat_map(Verdict::explained);
    let explained: HashSet<TaskKey> = explained.map(|task| task.key).collect();
    let groups = facts.groups.iter().filter(|group| is_such(group));
    let tasks = groups.flat_map(|group| &group.tasks);
    let tasks: Vec<&Task> = tasks
        .copied()
        .filter(|task| !explained.contains(&task.key))
        .collect();
    let places = facts.tasks(&tasks);
    let shown = format::first(MAX_NAMED, &places, "place", Clone::clone);
    (!tasks.is_empty()).then(|| (tasks.len(), format::list(shown)))
}

/// Tasks that copy between two ends, one of which has closed its half. How long the
/// other stays open is up to the peer.
fn half_closed(facts: &Facts) -> Option<String> {
    let is_such = |task: &&Task| {
        let leaves = task
            .leaves
            .iter()
            .map(|leaf| facts.frames.stack(leaf.stack));
        let copying = leaves.filter(|links| facts.is_in(links, BOTH_WAYS));
        task.state == State::Waiting && copying.count() == 1
    };
    let mut tasks = facts.free_of(|group| group.look.state == State::Waiting);
    tasks.retain(is_such);
    let verb = if tasks.len() == 1 { "copies" } else { "copy" };
    let places = facts.tasks(&tasks);
    let shown = format::list(format::first(MAX_NAMED, &places, "place", Clone::clone));
    (!tasks.is_empty()).then(|| {
        let tasks = format::count(tasks.len(), "task");
        format!(
            "half-closed: {tasks} {verb} one way only, as the other end of it was closed: {shown}"
        )
    })
}

/// Ended tasks that handles or sets keep because nobody takes their results.
fn kept(facts: &Facts) -> Option<String> {
    let mut kept = kept_by_type(facts.dump, facts.frames);
    kept.retain(|kept| kept.count >= MANY_KEPT);
    let shown = format::first(MAX_NAMED, &kept, "type", |kept| {
        let future = rtops_symbols::display_type(&kept.future_type);
        format!("{} of {}", kept.count, escape(&future))
    });
    (!kept.is_empty()).then(|| {
        let kept = format::list(shown);
        format!("ended tasks whose results nobody has taken are kept: {kept}")
    })
}

/// Threads that were inside polls and have run nearly all the time since. As far as
/// is known, they are doing work.
fn busy(facts: &Facts) -> Option<String> {
    let busy = facts
        .dump
        .threads
        .iter()
        .filter(|thread| facts.is_free_thread(thread.tid) && afterwards::is_busy(thread));
    let busy: HashMap<i32, &Thread> = busy.map(|thread| (thread.tid, thread)).collect();
    let polled = facts.free_of(|group| {
        let thread = group.look.state.thread();
        group.look.kind == TaskKind::Task && thread.is_some_and(|tid| busy.contains_key(&tid))
    });
    let threads = polled
        .iter()
        .filter_map(|task| busy.get(&task.state.thread()?));
    let used = afterwards::has_used(threads.copied())?;
    let places = facts.tasks(&polled);
    let shown = format::list(format::first(MAX_NAMED, &places, "place", Clone::clone));
    Some(match polled.len() {
        1 => format!("busy: the thread that polled {shown} {used}"),
        some => format!("busy: {some} threads polled {shown}; the busiest {used}"),
    })
}
