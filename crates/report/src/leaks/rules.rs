//! The rules that make tasks a finding, one method per kind of evidence, strongest evidence first.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::Duration,
};

use rtops_symbols::{WaitEnd, WaitReason};

use super::{
    Evidence, Finding, Judge, Subject,
    deadlock::Deadlock,
    growth::growth,
    idioms::Idioms,
    rested::Rested,
    sample::{Identity, Sample, Site, Watch, comparable, place_of, site},
};
use crate::{
    dump::Dump,
    format,
    frames::Frames,
    group::TaskGroup,
    task::{State, Task, TaskKey},
    verdicts::{Verdict, afterwards},
};

/// A poll that lasts longer than this is a finding.
const LONG_POLL: Duration = Duration::from_secs(1);

/// The state of judging one dump: its groups of tasks, and which tasks are already in a finding.
pub(super) struct Judging<'d, 'a> {
    dump: &'a Dump,
    watch: &'d Watch,
    judge: &'d Judge,
    groups: &'d [TaskGroup<'a>],
    idioms: Idioms<'d>,
    now: &'d Sample,
    rested: Rested,
    taken: HashSet<TaskKey>,
}

impl<'d, 'a> Judging<'d, 'a> {
    pub(super) fn new(
        dump: &'a Dump,
        now: &'d Sample,
        watch: &'d Watch,
        judge: &'d Judge,
        groups: &'d [TaskGroup<'a>],
        frames: &'d Frames,
    ) -> Self {
        let looks: Vec<&Sample> = watch.earlier.iter().chain([now]).collect();
        Self {
            rested: Rested::of(&looks),
            dump,
            watch,
            judge,
            groups,
            idioms: Idioms::of_tasks(frames, groups),
            now,
            taken: HashSet::new(),
        }
    }

    /// Returns how many tasks of a group are in no finding.
    pub(super) fn left(&self, group: &TaskGroup) -> usize {
        let tasks = group.tasks.iter();
        tasks.filter(|task| !self.taken.contains(&task.key)).count()
    }

    /// Whether all tasks that cause a fault are in findings.
    pub(super) fn covers(&self, verdict: &Verdict) -> bool {
        let mut tasks = verdict.tasks.iter();
        !verdict.tasks.is_empty() && tasks.all(|task| self.taken.contains(&task.key))
    }

    /// Takes the tasks of each group that `leaking` returns and no stronger evidence has taken.
    /// Makes one finding per group, described by `why`.
    fn take(
        &mut self,
        evidence: Evidence,
        findings: &mut Vec<Finding<'a>>,
        leaking: impl Fn(&Self, &TaskGroup<'a>) -> Vec<&'a Task>,
        why: impl Fn(&Self, &TaskGroup<'a>, &[&'a Task]) -> String,
    ) {
        let mut found = Vec::new();
        for group in self.groups {
            let mut tasks = leaking(self, group);
            tasks.retain(|task| !self.taken.contains(&task.key));
            if tasks.is_empty() {
                continue;
            }
            self.taken.extend(tasks.iter().map(|task| task.key));
            found.push(Finding {
                evidence,
                why: why(self, group, &tasks),
                subject: Subject::Tasks(Box::new(group.with(tasks))),
            });
        }
        found.sort_by_key(|finding| match &finding.subject {
            Subject::Tasks(group) => Reverse(group.tasks.len()),
            Subject::Threads(_) | Subject::Deadlock(_) => Reverse(0),
        });
        findings.extend(found);
    }

    /// Finds suspended tasks that nothing can wake, or that nothing could wake
    /// until rtops polled them.
    pub(super) fn proven(&mut self, findings: &mut Vec<Finding<'a>>) {
        let lost: HashSet<TaskKey> = self.lost_wakers();
        self.take(
            Evidence::Proven,
            findings,
            |_, group| {
                let is_never = group.look.state == State::Never;
                those(group, |task| is_never || lost.contains(&task.key))
            },
            |_, group, tasks| match group.look.state {
                State::Never => format!(
                    "no waker of it exists, so by the contract of `Future` nothing can ever poll \
                     it again{}",
                    abortable(tasks)
                ),
                _ => "every waker that it had registered was dropped without a wake: until rtops \
                     polled it, nothing could"
                    .to_owned(),
            },
        );
    }

    /// Returns tasks that had lost their wakers in this dump or an earlier one, and since
    /// then were polled only by dumps.
    fn lost_wakers(&self) -> HashSet<TaskKey> {
        let polls: HashMap<TaskKey, u64> = self
            .dump
            .tasks
            .iter()
            .filter_map(|task| Some((task.key, task.tracked()?.polls)))
            .collect();
        let samples = self.watch.earlier.iter().chain([self.now]);
        samples
            .flat_map(|sample| &sample.lost_wakers)
            .filter(|(task, before)| polls.get(task) == Some(before))
            .map(|(task, _)| *task)
            .collect()
    }

    /// Finds tasks in a circle of waits, or behind one.
    pub(super) fn deadlocks(
        &mut self,
        circles: Vec<Deadlock<'a>>,
        findings: &mut Vec<Finding<'a>>,
    ) {
        for deadlock in circles {
            self.taken.extend(deadlock.tasks());
            findings.push(Finding {
                evidence: Evidence::Deadlock,
                why: deadlock.why(),
                subject: Subject::Deadlock(deadlock),
            });
        }
    }

    /// Finds tasks in a place that gained tasks in all the looks and lost none.
    pub(super) fn growing(&mut self, findings: &mut Vec<Finding<'a>>) {
        if self.watch.earlier.is_empty() {
            return;
        }
        let now = self.now;
        let place = |task: &Task| now.tasks.get(&Identity::of(task)?).copied().flatten();
        let mut groups = HashMap::new();
        for (number, group) in self.groups.iter().enumerate() {
            for place in group.tasks.iter().filter_map(|task| place(task)) {
                groups.entry(place).or_insert(number);
            }
        }
        let samples: Vec<&Sample> = self.watch.earlier.iter().chain([self.now]).collect();
        let samples = comparable(&samples);
        let samples: Vec<_> = samples.iter().collect();
        let grown = growth(&groups, &samples);
        let growth_of = |task: &Task| grown.get(groups.get(&place(task)?)?);
        let watched = self.watch.time;
        self.take(
            Evidence::Growing,
            findings,
            |_, group| those(group, |task| growth_of(task).is_some()),
            |_, _, tasks| {
                let gained = tasks.iter().find_map(|task| growth_of(task));
                grew(gained.copied().unwrap_or_default(), watched)
            },
        );
    }

    /// Finds tasks that wait too long, judged by what they wait for or by what
    /// their siblings did meanwhile.
    pub(super) fn stuck(&mut self, findings: &mut Vec<Finding<'a>>) {
        let ended = self.last_ends();
        let min_age = self.judge.min_age;
        let last_end = |this: &Self, group: &TaskGroup| {
            let site_of_all = group.tasks.first()?.site()?;
            ended.get(&site(this.dump, site_of_all)).copied()
        };
        self.take(
            Evidence::Stuck,
            findings,
            |this, group| match wait_of(group) {
                Some(WaitEnd::Contended) if !this.idioms.is_shared_queue(group) => {
                    those(group, |task| has_lasted(task, min_age))
                }
                Some(WaitEnd::Open) => {
                    let last_end = last_end(this, group);
                    those(group, |task| {
                        has_lasted(task, min_age)
                            && last_end < task.since()
                            && last_end.is_some()
                            && !this.idioms.is_connection(group, task.parent())
                    })
                }
                _ => Vec::new(),
            },
            |this, group, tasks| {
                let longest = longest(tasks);
                match last_end(this, group) {
                    Some(last) if wait_of(group) == Some(WaitEnd::Open) => format!(
                        "has not moved for up to {longest}, while others spawned there have \
                         ended, the last {} ago",
                        format::duration(last)
                    ),
                    _ => format!("has waited up to {longest} for others to let go"),
                }
            },
        );
    }

    /// Does the same for untracked tasks, whose times are unknown: they stayed in every look,
    /// either where no task went on, or while others of their kind ended.
    pub(super) fn stayed(&mut self, findings: &mut Vec<Finding<'a>>) {
        let looks = self.looks();
        self.take(
            Evidence::Stuck,
            findings,
            |this, group| match wait_of(group) {
                Some(WaitEnd::Contended) if !this.idioms.is_shared_queue(group) => {
                    those(group, |task| this.rested.is_in_still_queue(task))
                }
                Some(WaitEnd::Open) => those(group, |task| {
                    this.rested.is_left_behind(task)
                        && !this.idioms.is_connection(group, task.parent())
                }),
                _ => Vec::new(),
            },
            |_, group, _| {
                let meanwhile = match wait_of(group) {
                    Some(WaitEnd::Contended) => "nobody who waits there went on",
                    _ => "others of its type ended",
                };
                format!("was there in all {looks}, and {meanwhile}")
            },
        );
    }

    /// Finds tasks that yielded to others, and were about to take their next turn, in every look.
    pub(super) fn yielding(&mut self, findings: &mut Vec<Finding<'a>>) {
        let looks = self.looks();
        self.take(
            Evidence::Spinning,
            findings,
            |this, group| match group.waits().as_slice() {
                [WaitReason::Yield] => those(group, |task| {
                    let place = place_of(this.dump, task);
                    place.is_some_and(|place| this.rested.is_always_at(task, place))
                }),
                _ => Vec::new(),
            },
            |_, _, _| format!("gave others a turn and asked for the next one, in all {looks}"),
        );
    }

    /// Finds tasks that ran or were about to run in every look, but not on a blocked
    /// thread: that is another fault.
    pub(super) fn restless(&mut self, findings: &mut Vec<Finding<'a>>) {
        let looks = self.looks();
        let nobody_runs = afterwards::all_rested(self.dump);
        self.take(
            Evidence::Spinning,
            findings,
            |this, group| {
                let runs = match group.look.state {
                    State::Running { tid } => !this.is_blocked(tid),
                    State::Woken => !nobody_runs,
                    _ => false,
                };
                those(group, |task| runs && this.rested.is_restless(task))
            },
            |_, _, _| format!("ran or was about to in all {looks}"),
        );
    }

    /// Finds tasks that were about to run in every look while all threads rested, as
    /// if nobody drives a `LocalSet`.
    pub(super) fn not_driven(&mut self, findings: &mut Vec<Finding<'a>>) {
        let looks = self.looks();
        let nobody_runs = afterwards::all_rested(self.dump);
        self.take(
            Evidence::Stuck,
            findings,
            |this, group| match group.look.state {
                State::Woken if nobody_runs => those(group, |task| this.rested.is_restless(task)),
                _ => Vec::new(),
            },
            |_, _, _| {
                format!(
                    "was to be polled in all {looks}, and no thread did so: nobody drives \
                     its executor"
                )
            },
        );
    }

    /// Returns `5 looks of 4.4 s`.
    fn looks(&self) -> String {
        let watched = format::duration(self.watch.time);
        format!("{} looks of {watched}", self.rested.looks)
    }

    /// Whether a thread waits and has hardly run since the look.
    fn is_blocked(&self, tid: Option<i32>) -> bool {
        let thread = tid.and_then(|tid| self.dump.thread(tid));
        thread.is_some_and(|thread| match thread.afterwards {
            Some(_) => afterwards::has_rested(thread),
            None => matches!(thread.state, Some('S' | 'D')),
        })
    }

    /// Returns the time since a task made at each place last ended.
    fn last_ends(&self) -> HashMap<Site, Duration> {
        let mut ended: HashMap<Site, Duration> = HashMap::new();
        for one in &self.dump.ended_sites {
            let last = ended
                .entry(site(self.dump, one.site))
                .or_insert(Duration::MAX);
            *last = Duration::from_nanos(one.last_ns).min(*last);
        }
        ended
    }

    /// Finds tasks that have been inside one poll for long.
    pub(super) fn spinning(&mut self, findings: &mut Vec<Finding<'a>>) {
        let state_of = |this: &Self, tid: i32| this.dump.thread(tid)?.state;
        self.take(
            Evidence::Spinning,
            findings,
            |_, group| match group.look.state {
                State::Running { .. } => those(group, |task| has_lasted(task, LONG_POLL)),
                _ => Vec::new(),
            },
            |this, group, tasks| {
                let since = longest(tasks);
                let state = match group.look.state {
                    State::Running { tid } => tid.and_then(|tid| state_of(this, tid)),
                    _ => None,
                };
                match state {
                    Some('R') => format!(
                        "has computed for {since} without giving its thread back to the executor"
                    ),
                    Some(_) => format!("has blocked its thread for {since} inside one poll"),
                    None => format!("has been inside one poll for {since}"),
                }
            },
        );
    }

    /// Finds tasks that have waited for long and were spawned by a task that was cancelled.
    pub(super) fn orphaned(&mut self, findings: &mut Vec<Finding<'a>>) {
        let min_age = self.judge.min_age;
        let is_orphan = |task: &Task| task.tracked().is_some_and(|tracked| tracked.is_orphan);
        self.take(
            Evidence::Orphaned,
            findings,
            |_, group| match wait_of(group) {
                Some(WaitEnd::Contended | WaitEnd::Open) => {
                    those(group, |task| is_orphan(task) && has_lasted(task, min_age))
                }
                _ => Vec::new(),
            },
            |_, _, _| {
                "what spawned it was dropped before its end; this goes on, and may have nobody \
                 left to answer"
                    .to_owned()
            },
        );
    }
}

/// Returns the tasks of a group that satisfy a predicate.
fn those<'a>(group: &TaskGroup<'a>, is_one: impl Fn(&Task) -> bool) -> Vec<&'a Task> {
    let tasks = group.tasks.iter().copied();
    tasks.filter(|task| is_one(task)).collect()
}

/// Whether a task is known to have been in its state for at least this long.
fn has_lasted(task: &Task, time: Duration) -> bool {
    task.since().is_some_and(|since| since >= time)
}

/// Returns the longest time that one of the tasks has been in its state, in words.
fn longest(tasks: &[&Task]) -> String {
    let longest = tasks.iter().filter_map(|task| task.since()).max();
    format::duration(longest.unwrap_or_default())
}

/// Returns what to say about tasks that nothing can wake if memory shows that a
/// handle can still abort them.
fn abortable(tasks: &[&Task]) -> String {
    let read = tasks.iter().filter_map(|task| task.memory());
    let with_handle = read.filter(|memory| memory.has_join_handle).count();
    match with_handle {
        0 => String::new(),
        all if all == tasks.len() => " (a handle can still abort it)".to_owned(),
        some => format!(" (a handle can still abort {some} of them)"),
    }
}

/// Returns how a group's wait ends; the branch that ends first decides.
fn wait_of(group: &TaskGroup) -> Option<WaitEnd> {
    if group.look.state != State::Waiting || group.chains.is_empty() {
        return None;
    }
    let ends = || {
        let waits = group.chains.iter().map(|chain| chain.wait);
        waits.map(|wait| wait.map_or(WaitEnd::Open, |wait| wait.end()))
    };
    [WaitEnd::Timed, WaitEnd::Idle, WaitEnd::Contended]
        .into_iter()
        .find(|end| ends().any(|one| one == *end))
        .or(Some(WaitEnd::Open))
}

/// Says by how many a group grew.
pub(super) fn grew(gained: usize, watched: Duration) -> String {
    let time = format::duration(watched);
    format!("{gained} more within {time}, and none of them ended")
}
