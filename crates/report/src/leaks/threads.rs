//! The rules that make threads a finding.
//!
//! A thread has no waker to count and no spawn site, and what it waits for has no known holder.
//! What is left is whether it moved while it was watched, and what happened to its kin.

use std::collections::{HashMap, HashSet};

use rtops_protocol::Thread;
use rtops_symbols::{WaitEnd, WaitReason};

use super::{
    Evidence, Finding, Subject,
    growth::growth,
    idioms::{Idioms, own_function},
    rules::grew,
    sample::{Place, Sample, Watch, kin},
};
use crate::{format, frames::Frames, threads::ThreadGroup};

/// How many timeslices one dump may cost an otherwise idle thread: it is stopped and resumed, or
/// gets a signal or two; the thread that is made to copy the process takes nine; and on a busy
/// machine each of these may be interrupted. A thread with work takes many more between two dumps.
const SLICES_A_DUMP: u64 = 20;

/// Judges the threads of the last dump of a watch.
pub(super) fn judge<'a>(
    frames: &Frames,
    now: &Sample,
    watch: &Watch,
    groups: &[ThreadGroup<'a>],
) -> Vec<Finding<'a>> {
    if watch.earlier.is_empty() {
        return Vec::new();
    }
    let mut taken = HashSet::new();
    let mut findings = growing(frames, now, watch, groups);
    for finding in &findings {
        if let Subject::Threads(group) = &finding.subject {
            taken.extend(group.threads.iter().map(|thread| thread.tid));
        }
    }
    let idioms = Idioms::of_threads(frames, groups);
    let ended = ended_kin(watch, now);
    for group in groups {
        let leaks = |thread: &&&Thread| {
            !taken.contains(&thread.tid)
                && !idioms.shares_queue(group, name(thread))
                && is_stuck(group, ended.contains(&kin(name(thread))))
                && has_not_moved(watch, now, thread.tid)
        };
        let threads: Vec<&Thread> = group.threads.iter().filter(leaks).copied().collect();
        if threads.is_empty() {
            continue;
        }
        let watched = format::duration(watch.time);
        findings.push(Finding {
            evidence: Evidence::Stuck,
            why: match wait_end(group) {
                WaitEnd::Contended => {
                    format!("did not move for the {watched} that it was watched")
                }
                _ => format!(
                    "did not move for the {watched} that it was watched, while others of its \
                     name ended"
                ),
            },
            subject: Subject::Threads(group.with(threads)),
        });
    }
    findings
}

/// Returns the name of a thread; empty if unknown.
fn name(thread: &Thread) -> &str {
    thread.name.as_deref().unwrap_or_default()
}

fn growing<'a>(
    frames: &Frames,
    now: &Sample,
    watch: &Watch,
    groups: &[ThreadGroup<'a>],
) -> Vec<Finding<'a>> {
    let mut places: HashMap<Place, usize> = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        // A library's pool grows with its work and shrinks when its threads have been idle.
        if wait_end(group) != WaitEnd::Idle || own_function(frames, &group.links).is_some() {
            let own = group.threads.iter();
            let own = own.filter_map(|thread| now.threads.get(&thread.tid)?.place);
            places.extend(own.map(|place| (place, number)));
        }
    }
    let samples: Vec<HashMap<i32, Option<Place>>> = watch
        .earlier
        .iter()
        .chain([now])
        .map(|sample| {
            let threads = sample.threads.iter();
            threads.map(|(tid, thread)| (*tid, thread.place)).collect()
        })
        .collect();
    let samples: Vec<&HashMap<_, _>> = samples.iter().collect();
    let mut grown: Vec<_> = growth(&places, &samples).into_iter().collect();
    grown.sort_unstable_by_key(|(group, _)| *group);
    let findings = grown.into_iter().filter_map(|(group, gained)| {
        let group = groups.get(group)?;
        Some(Finding {
            evidence: Evidence::Growing,
            why: grew(gained, watch.time),
            subject: Subject::Threads(group.with(group.threads.clone())),
        })
    });
    findings.collect()
}

/// Returns the names, without digits, of threads that ended during the watch. A thread that was
/// never named has the program's name, which makes it no kin of others.
fn ended_kin(watch: &Watch, now: &Sample) -> HashSet<String> {
    let earlier = watch.earlier.iter().flat_map(|sample| &sample.threads);
    let ended = earlier.filter(|(tid, _)| !now.threads.contains_key(tid));
    let mut ended: HashSet<String> = ended.map(|(_, thread)| thread.kin.clone()).collect();
    ended.extend(watch.ended_kin.iter().cloned());
    if let Some(main) = now.threads.get(&watch.main_thread) {
        ended.remove(&main.kin);
    }
    ended
}

fn is_stuck(group: &ThreadGroup, kin_ended: bool) -> bool {
    match wait_end(group) {
        WaitEnd::Contended => true,
        WaitEnd::Open => kin_ended,
        WaitEnd::Timed | WaitEnd::Idle => false,
    }
}

fn wait_end(group: &ThreadGroup) -> WaitEnd {
    group.wait.unwrap_or(WaitReason::Unknown).end()
}

/// Whether a thread was in one place in all dumps, and between them ran no more
/// than the dumps made it.
fn has_not_moved(watch: &Watch, now: &Sample, tid: i32) -> bool {
    let Some(last) = now.threads.get(&tid).filter(|last| last.place.is_some()) else {
        return false;
    };
    let mut samples = watch.earlier.iter().map(|sample| sample.threads.get(&tid));
    let in_place = samples.all(|sample| sample.is_some_and(|one| one.place == last.place));
    let first = watch
        .earlier
        .first()
        .and_then(|sample| sample.threads.get(&tid));
    let ran = first.and_then(|first| last.timeslices?.checked_sub(first.timeslices?));
    let dumps = u64::try_from(watch.earlier.len()).unwrap_or(u64::MAX);
    in_place && ran.is_none_or(|ran| ran <= dumps.saturating_mul(SLICES_A_DUMP))
}
