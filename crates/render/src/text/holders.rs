//! Lines about who holds what others wait for.

use std::{cmp::Reverse, collections::HashMap};

use rtops_protocol::{
    Claim, ClaimMode, Resource, ResourceKind, SourceLocation, StringId, TaskKind,
};
use rtops_report::{
    dump::Dump,
    escape::escape,
    format,
    holders::{Holders, Lock},
    task::TaskKey,
    words,
};

/// The most holders of a lock, and locks of a group, that are shown.
const MAX_LINES: usize = 3;

/// The longest type name that is shown.
const MAX_TYPE: usize = 40;

/// Returns lines for a group that waits, about the holders; `claims` are the group's waits.
pub(super) fn held_by<'a>(
    holders: &Holders<'a>,
    claims: impl Iterator<Item = &'a Claim>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let locks = by_resource(claims);
    for claims in locks.iter().take(MAX_LINES) {
        let Some((claim, lock)) = with_lock(holders, claims) else {
            continue;
        };
        let told = lines.len();
        for holder in lock.holders.iter().take(MAX_LINES) {
            let alone = claims.len() == 1 && holder.task == claim.task && claim.task != 0;
            lines.push(holder_line(holders, lock.resource, holder, alone));
        }
        if lock.holders.len() > MAX_LINES {
            let more = lock.holders.len() - MAX_LINES;
            lines.push(match lock.resource.kind {
                ResourceKind::JoinSet => format!("and for {}", format::count(more, "more task")),
                _ => format!("and by {more} more"),
            });
        }
        if lock.holders.is_empty() && lock.resource.kind == ResourceKind::Semaphore {
            let site = place(holders.dump, lock.resource.site);
            lines.push(format!(
                "nobody holds a permit of the semaphore made at {site}"
            ));
        }
        lines.extend(writer_before(holders, lock, claim));
        if locks.len() > 1
            && let Some(first) = lines.get_mut(told)
        {
            let count = claims.len();
            let verb = if count == 1 { "waits" } else { "wait" };
            *first = format!("{first} ({count} of these {verb} for it)");
        }
    }
    if locks.len() > MAX_LINES {
        let more = format::count(locks.len() - MAX_LINES, "more lock");
        lines.push(format!("and for {more}"));
    }
    lines
}

/// Returns lines for a group that holds, about the waiters; `claims` are what it holds,
/// `is_one` is whether it is a single task.
pub(super) fn holds<'a>(
    holders: &Holders<'a>,
    claims: impl Iterator<Item = &'a Claim>,
    is_one: bool,
) -> Vec<String> {
    let locks = by_resource(claims);
    let mut lines: Vec<String> = Vec::new();
    for claims in locks.iter().take(MAX_LINES) {
        let Some((claim, lock)) = with_lock(holders, claims) else {
            continue;
        };
        let who = match (is_one, claims.len()) {
            (true, _) => "holds".to_owned(),
            (false, 1) => format!("task {} holds", claim.task),
            (false, count) => format!("{count} of these hold"),
        };
        let line = match lock.resource.kind {
            ResourceKind::JoinSet => lock.waiters.first().map(|first| joined_by(holders, first)),
            _ => Some(format!("{who} {}", held(holders, lock, claims))),
        };
        lines.extend(line);
    }
    if locks.len() > MAX_LINES {
        let more = format::count(locks.len() - MAX_LINES, "more lock");
        lines.push(format!("and {more} that others wait for"));
    }
    lines
}

/// Describes a lock, how long it has been held, and how many wait for it.
fn held(holders: &Holders, lock: &Lock, claims: &[&Claim]) -> String {
    let permits = claims.iter().map(|claim| claim.permits);
    let permits = match lock.resource.kind {
        ResourceKind::Semaphore => {
            format!(
                "{} of a ",
                count_permits(permits.fold(0, u32::saturating_add))
            )
        }
        _ => String::new(),
    };
    let longest = claims.iter().max_by_key(|claim| claim.since_ns);
    let (time, site) = longest.map_or_else(Default::default, |claim| {
        let time = format::nanoseconds(claim.since_ns);
        (time, place(holders.dump, claim.site))
    });
    let most = if claims.len() > 1 {
        ", the longest"
    } else {
        ""
    };
    let what = what(holders.dump, lock.resource);
    let waiters = waiters(lock);
    format!("{permits}{what}{most} for {time}, taken at {site}; {waiters} for it")
}

fn waiters(lock: &Lock) -> String {
    let count = lock.waiters.len();
    let verb = if count == 1 { "waits" } else { "wait" };
    if lock.waiters.iter().all(|claim| claim.task != 0) {
        format!("{} {verb}", format::count(count, "task"))
    } else {
        format!("{count} {verb}")
    }
}

/// Returns the first of the claims, and its lock.
fn with_lock<'a, 'h>(
    holders: &'h Holders<'a>,
    claims: &[&'a Claim],
) -> Option<(&'a Claim, &'h Lock<'a>)> {
    let claim = claims.first()?;
    Some((claim, holders.lock(claim)?))
}

fn joined_by(holders: &Holders, waiter: &Claim) -> String {
    format!(
        "awaited as one of a set by {}, at {}",
        who(holders, waiter),
        place(holders.dump, waiter.site)
    )
}

fn holder_line(holders: &Holders, resource: &Resource, holder: &Claim, alone: bool) -> String {
    let who = if alone {
        "this task itself".to_owned()
    } else {
        who(holders, holder)
    };
    let time = format::nanoseconds(holder.since_ns);
    let site = place(holders.dump, holder.site);
    let held = match (resource.kind, holder.mode) {
        (ResourceKind::JoinSet, _) => {
            return format!("waits for {who}, alive for {time}, spawned at {site}");
        }
        (ResourceKind::Semaphore, _) => format!("{} held", count_permits(holder.permits)),
        (ResourceKind::RwLock, ClaimMode::Shared) => "held for reading".to_owned(),
        (ResourceKind::RwLock, ClaimMode::Exclusive) => "held for writing".to_owned(),
        _ => "held".to_owned(),
    };
    format!("{held} by {who} for {time}, taken at {site}")
}

/// Says behind which waiting writer a reader waits, if any.
fn writer_before(holders: &Holders, lock: &Lock, claim: &Claim) -> Option<String> {
    let shared = |claim: &&Claim| claim.mode == ClaimMode::Shared;
    if lock.resource.kind != ResourceKind::RwLock
        || claim.mode != ClaimMode::Shared
        || !lock.holders.iter().all(shared)
    {
        return None;
    }
    let mut waiters = lock.waiters.iter();
    let writer = waiters.find(|waiter| waiter.mode == ClaimMode::Exclusive)?;
    let who = who(holders, writer);
    let site = place(holders.dump, writer.site);
    Some(format!("behind {who}, which waits to write at {site}"))
}

/// Describes the task of a claim: `task 17 "flush"`, or whatever else is known.
fn who(holders: &Holders, claim: &Claim) -> String {
    let Some(task) = holders.task(claim) else {
        if claim.task != 0 {
            return format!("task {}, which has ended,", claim.task);
        }
        let thread = holders.dump.thread(claim.tid);
        let name = thread.and_then(|thread| thread.name.as_deref());
        let name = name.map_or_else(String::new, |name| format!(" ({})", escape(name)));
        return format!("thread {}{name} outside of any task", claim.tid);
    };
    let name = label(holders.dump, task.name());
    match (task.kind, task.parent()) {
        (TaskKind::Span, Some(TaskKey::Tracked(parent))) => {
            format!("span {}{name} of task {parent}", claim.task)
        }
        (kind, _) => format!("{} {}{name}", words::noun(kind), claim.task),
    }
}

/// Returns the kind of a lock, with the type of its value.
pub(super) fn what(dump: &Dump, resource: &Resource) -> String {
    let kind = words::resource(resource.kind);
    match dump.string(resource.value_type).and_then(short_type) {
        Some(value) => format!("{kind}<{}>", escape(&value)),
        None => kind.to_owned(),
    }
}

/// Returns a type without its path and arguments; `None` if it has no short name.
fn short_type(value: &str) -> Option<String> {
    let shown = rtops_symbols::display_name(value);
    let last = shown.rsplit("::").next().unwrap_or_default();
    let is_name = last.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !last.is_empty() && last.len() <= MAX_TYPE).then(|| last.to_owned())
}

fn label(dump: &Dump, name: StringId) -> String {
    let name = dump.string(name);
    name.map_or_else(String::new, |name| format!(" {}", words::quoted(name)))
}

pub(super) fn place(dump: &Dump, site: SourceLocation) -> String {
    match dump.place(site) {
        Some(place) => escape(&place.to_string()).into_owned(),
        None => "a place that is not known".to_owned(),
    }
}

pub(super) fn count_permits(permits: u32) -> String {
    format::count(usize::try_from(permits).unwrap_or(usize::MAX), "permit")
}

/// Groups claims by lock, the lock with the most claims first.
fn by_resource<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Vec<&'a Claim>> {
    let mut locks: Vec<Vec<&Claim>> = Vec::new();
    let mut numbers = HashMap::new();
    for claim in claims {
        let number = *numbers.entry(claim.resource).or_insert(locks.len());
        match locks.get_mut(number) {
            Some(lock) => lock.push(claim),
            None => locks.push(vec![claim]),
        }
    }
    locks.sort_by_key(|claims| Reverse(claims.len()));
    locks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{ClaimRole, Reply, Strings, Task};

    use super::*;
    use rtops_report::dump::fixtures::{end, receive, task};

    const SECOND: u64 = 1_000_000_000;

    /// Makes a dump in which resources 1 to 4 are of all kinds; text 1 is their
    /// file, 2 a type, 3 a name.
    fn dump(tasks: Vec<Task>, claims: Vec<Claim>) -> Dump {
        let texts = ["src/cache.rs", "gateway::cache::Cache<u8>", "flush\u{7}"];
        let kinds = [
            ResourceKind::Mutex,
            ResourceKind::RwLock,
            ResourceKind::Semaphore,
            ResourceKind::JoinSet,
        ];
        let resources = kinds.into_iter().zip(1..).map(|(kind, id)| Resource {
            id,
            kind,
            value_type: StringId(if id == 1 { 2 } else { 0 }),
            site: site(5),
        });
        receive(vec![
            Reply::Strings(Strings(texts.map(str::to_owned).to_vec())),
            Reply::Tasks(tasks),
            Reply::Resources(resources.collect()),
            Reply::Claims(claims),
            end(),
        ])
        .unwrap()
    }

    fn site(line: u32) -> SourceLocation {
        SourceLocation {
            file: StringId(1),
            line,
            column: 9,
        }
    }

    fn claim(role: ClaimRole, resource: u64, task: u64, mode: ClaimMode) -> Claim {
        Claim {
            resource,
            role,
            task,
            tid: 4711,
            since_ns: task.max(1) * SECOND,
            site: site(u32::try_from(task).unwrap()),
            mode,
            permits: 1,
        }
    }

    fn holder(resource: u64, task: u64) -> Claim {
        claim(ClaimRole::Holder, resource, task, ClaimMode::Exclusive)
    }

    fn waiter(resource: u64, task: u64) -> Claim {
        claim(ClaimRole::Waiter, resource, task, ClaimMode::Exclusive)
    }

    fn shared(claim: Claim) -> Claim {
        let mode = ClaimMode::Shared;
        Claim { mode, ..claim }
    }

    fn lines(dump: &Dump, waiting: &[u64], holding: &[u64]) -> String {
        let holders = Holders::of(dump);
        let waits = waiting.iter();
        let waits = waits.flat_map(|task| holders.waits(TaskKey::Tracked(*task)));
        let mut lines = held_by(&holders, waits.copied());
        let held = holding.iter();
        let held = held.flat_map(|task| holders.holds(TaskKey::Tracked(*task)));
        lines.extend(holds(&holders, held.copied(), holding.len() == 1));
        lines.join("\n")
    }

    #[test]
    fn one_holder_of_many_waiters_is_one_line() {
        let mut claims = vec![holder(1, 9)];
        claims.extend((1..=7).map(|task| waiter(1, task)));
        let dump = dump((1..=9).map(|id| task(id, 3, &[])).collect(), claims);
        let waiting: Vec<u64> = (1..=7).collect();
        insta::assert_snapshot!(lines(&dump, &waiting, &[9]), @r#"
        held by task 9 "flush\u{7}" for 9.0 s, taken at src/cache.rs:9:9
        holds mutex<Cache> for 9.0 s, taken at src/cache.rs:9:9; 7 tasks wait for it
        "#);
    }

    #[test]
    fn of_many_holders_those_are_told_that_hold_the_longest() {
        let mut claims: Vec<Claim> = (10..=15).map(|task| shared(holder(2, task))).collect();
        claims.push(waiter(2, 1));
        let tasks = [1, 10, 11, 12, 13, 14, 15];
        let dump = dump(tasks.map(|id| task(id, 0, &[])).to_vec(), claims);
        insta::assert_snapshot!(lines(&dump, &[1], &tasks), @r"
        held for reading by task 15 for 15 s, taken at src/cache.rs:15:9
        held for reading by task 14 for 14 s, taken at src/cache.rs:14:9
        held for reading by task 13 for 13 s, taken at src/cache.rs:13:9
        and by 3 more
        6 of these hold rwlock, the longest for 15 s, taken at src/cache.rs:15:9; 1 task waits for it
        ");
    }

    #[test]
    fn a_holder_may_have_ended_or_be_no_task_or_the_waiter() {
        let claims = vec![
            holder(1, 9),
            waiter(1, 1),
            shared(holder(2, 0)),
            waiter(2, 1),
        ];
        let ended = dump(vec![task(1, 0, &[])], claims);
        insta::assert_snapshot!(lines(&ended, &[1], &[]), @r"
        held by task 9, which has ended, for 9.0 s, taken at src/cache.rs:9:9 (1 of these waits for it)
        held for reading by thread 4711 outside of any task for 1.0 s, taken at src/cache.rs:0:9 (1 of these waits for it)
        ");
        let twice = dump(vec![task(1, 0, &[])], vec![holder(1, 1), waiter(1, 1)]);
        insta::assert_snapshot!(lines(&twice, &[1], &[1]), @r"
        held by this task itself for 1.0 s, taken at src/cache.rs:1:9
        holds mutex<Cache> for 1.0 s, taken at src/cache.rs:1:9; 1 task waits for it
        ");
    }

    #[test]
    fn readers_stand_behind_the_writer_who_waits() {
        let claims = vec![shared(holder(2, 9)), waiter(2, 3), shared(waiter(2, 1))];
        let dump = dump(
            vec![task(1, 0, &[]), task(3, 3, &[]), task(9, 0, &[])],
            claims,
        );
        insta::assert_snapshot!(lines(&dump, &[1], &[]), @r#"
        held for reading by task 9 for 9.0 s, taken at src/cache.rs:9:9
        behind task 3 "flush\u{7}", which waits to write at src/cache.rs:3:9
        "#);
        assert!(!lines(&dump, &[3], &[]).contains("behind"));
    }

    #[test]
    fn sets_and_permits_have_words_of_their_own() {
        let mut claims: Vec<Claim> = (10..=14).map(|task| shared(holder(4, task))).collect();
        claims.extend([waiter(4, 1), shared(waiter(3, 2))]);
        let tasks = [1, 2, 10, 11, 12, 13, 14].map(|id| task(id, 0, &[]));
        let dump = dump(tasks.to_vec(), claims);
        insta::assert_snapshot!(lines(&dump, &[1], &[10, 11]), @r"
        waits for task 14, alive for 14 s, spawned at src/cache.rs:14:9
        waits for task 13, alive for 13 s, spawned at src/cache.rs:13:9
        waits for task 12, alive for 12 s, spawned at src/cache.rs:12:9
        and for 2 more tasks
        awaited as one of a set by task 1, at src/cache.rs:1:9
        ");
        insta::assert_snapshot!(lines(&dump, &[2], &[]), @"nobody holds a permit of the semaphore made at src/cache.rs:5:9");
    }

    #[test]
    fn claims_on_what_is_not_there_are_left_out() {
        let dump = dump(vec![task(1, 0, &[])], vec![waiter(77, 1), holder(77, 1)]);
        assert_eq!(lines(&dump, &[1], &[1]), "");
    }
}
