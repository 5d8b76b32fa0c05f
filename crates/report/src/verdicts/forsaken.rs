//! Tasks that wait for something that nobody else has.

use std::collections::HashSet;

use rtops_protocol::SharedKind;

use super::{Fault, Verdict, facts::Facts, tasks::MAX_PLACES};
use crate::{
    format,
    task::{Task, TaskKey},
    waits::Waits,
};

/// Finds tasks that wait for something that only they have, or others that wait in the same way: nobody
/// is left who could let them go on.
pub(super) fn forsaken<'a>(facts: &mut Facts<'_, 'a>, waits: &Waits<'a>) -> Vec<Verdict<'a>> {
    let mut held = waits.held();
    held.retain(|(shared, _, waiters)| {
        shared.kind == SharedKind::Queue
            && shared.is_complete
            && shared.holders.is_empty()
            && waiters.len() == shared.waiters.len()
            && waiters.iter().all(|task| is_alone(facts, task))
    });
    // Anybody who has it and waits for something else may release it.
    loop {
        let waiting = held.iter().flat_map(|(_, _, waiters)| waiters);
        let waiting: HashSet<TaskKey> = waiting.map(|task| task.key).collect();
        let before = held.len();
        held.retain(|(shared, _, _)| {
            let others = facts.parties(&shared.others);
            others.is_some_and(|others| others.iter().all(|other| waiting.contains(&other.key)))
        });
        if held.len() == before {
            break;
        }
    }
    let mut reasons: Vec<_> = held.iter().map(|(_, reason, _)| *reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let verdicts = reasons.into_iter().map(|reason| {
        let alike = held.iter().filter(|(_, other, _)| *other == reason);
        let mut tasks: Vec<&Task> = alike.flat_map(|(_, _, tasks)| tasks).copied().collect();
        tasks.sort_unstable_by_key(|task| task.key);
        let places = facts.tasks(&tasks);
        let (verb, them) = match tasks.len() {
            1 => ("waits", "it"),
            _ => ("wait", "them"),
        };
        let what = match places.as_slice() {
            [only] => only.clone(),
            _ => format::count(tasks.len(), "task"),
        };
        let mut verdict = Verdict::new(
            Fault::Never,
            format!("{what} {verb} for what nobody else has: nothing can wake {them}"),
        );
        if places.len() > 1 {
            verdict.evidence = format::first(MAX_PLACES, &places, "place", Clone::clone);
        }
        facts.take(&tasks, &[]);
        verdict.tasks = tasks;
        verdict
    });
    verdicts.collect()
}

/// Returns whether a task is not explained yet and waits in one place, without children that could let it
/// go on.
fn is_alone(facts: &Facts<'_, '_>, task: &Task) -> bool {
    let group = facts.group_of(task.key);
    let has_children = group.is_none_or(|group| {
        let links = group.chains.iter().flat_map(|chain| &chain.links);
        let mut frames = links.filter_map(|link| facts.frames.get(link.frame));
        frames.any(|frame| frame.known.is_container())
    });
    facts.is_free(task) && task.leaves.len() == 1 && !has_children
}
