//! Arranges tasks and threads so that nothing is shown twice, or at needless length.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Thread, ThreadCapture};
use rtops_symbols::WaitReason;

use crate::{
    dump::{Dump, leaf_of},
    frame::Link,
    frames::Frames,
    group::{Look, TaskGroup},
    task::State,
    threads::{ThreadGroup, blocks_on},
};

/// The threads of a dump that are left once its tasks are shown.
#[derive(Debug)]
pub struct Threads<'a> {
    /// Threads that deserve a mention.
    pub groups: Vec<ThreadGroup<'a>>,
    /// Threads that do what the threads of an idle runtime do.
    pub idle: Vec<&'a Thread>,
}

/// Leaves out threads that are shown with the tasks they run, and sets idle ones apart.
pub fn arrange<'a>(
    dump: &Dump,
    frames: &Frames,
    tasks: &[TaskGroup],
    groups: &[ThreadGroup<'a>],
) -> Threads<'a> {
    let shown = tasks.iter().filter(|group| !group.chains.is_empty());
    let tasks = shown.flat_map(|group| &group.tasks);
    let mut running = HashSet::new();
    let mut awaited = HashSet::new();
    for task in tasks {
        match task.state {
            State::Running { tid: Some(tid) } => running.insert(tid),
            _ => task.block_on().is_some_and(|tid| awaited.insert(tid)),
        };
    }
    let mut arranged = Threads {
        groups: Vec::new(),
        idle: Vec::new(),
    };
    for group in groups {
        let threads = group.threads.iter().copied();
        // The thread that ended the process is always shown.
        let has_crashed = group.killed_by(dump).is_some();
        let left = threads.filter(|thread| has_crashed || !running.contains(&thread.tid));
        let is_idle = |thread: &&Thread| !has_crashed && is_idle(frames, group, thread, &awaited);
        let (idle, busy): (Vec<&Thread>, Vec<&Thread>) = left.partition(is_idle);
        arranged.idle.extend(idle);
        if !busy.is_empty() {
            arranged.groups.push(group.with(busy));
        }
    }
    arranged.idle.sort_unstable_by_key(|thread| thread.tid);
    arranged
}

/// Whether a thread waits for work in foreign code; `awaited` has the threads
/// whose `block_on` future is shown.
fn is_idle(frames: &Frames, group: &ThreadGroup, thread: &Thread, awaited: &HashSet<i32>) -> bool {
    if thread.capture == ThreadCapture::Agent {
        return true;
    }
    let waits = matches!(
        group.wait,
        Some(
            WaitReason::ChannelReceive
                | WaitReason::Condvar
                | WaitReason::EpollWait
                | WaitReason::Parked
        )
    );
    let Some(leaf) = leaf_of(thread).filter(|_| waits && group.remark.is_none()) else {
        return false;
    };
    let links = frames.stack(leaf.stack);
    let is_block_on = |link: &Link| {
        let frame = frames.get(link.frame);
        frame.is_some_and(blocks_on)
    };
    let inside = match links.iter().position(is_block_on) {
        Some(at) if awaited.contains(&thread.tid) => links.get(..at).unwrap_or_default(),
        _ => links,
    };
    !inside.iter().any(|link| frames.is_own(link))
}

/// Merges groups that differ only in the numbers in their names, or in the threads that run them.
pub fn together(groups: Vec<TaskGroup<'_>>) -> Vec<TaskGroup<'_>> {
    let mut known: HashMap<(String, Look), usize> = HashMap::new();
    let mut all: Vec<TaskGroup> = Vec::with_capacity(groups.len());
    for group in groups {
        let pattern = group.look.name.map(without_numbers).unwrap_or_default();
        let mut look = group.look.clone();
        look.name = look.name.map(|_| "");
        if matches!(look.state, State::Running { .. }) {
            look.state = State::Running { tid: None };
        }
        let index = *known.entry((pattern, look)).or_insert(all.len());
        match all.get_mut(index) {
            Some(first) => join(first, group),
            None => all.push(group),
        }
    }
    for group in &mut all {
        group.tasks.sort_unstable_by_key(|task| task.key);
    }
    all
}

fn join<'a>(first: &mut TaskGroup<'a>, other: TaskGroup<'a>) {
    first.is_stepped |= other.is_stepped;
    first.tasks.extend(other.tasks);
    let Some(name) = other.look.name else { return };
    let least = first.look.name.unwrap_or(name);
    let greatest = first.last_name.unwrap_or(least);
    if numbers(name) < numbers(least) {
        first.look.name = Some(name);
    }
    if numbers(name) > numbers(greatest) {
        first.last_name = Some(name);
    } else if greatest != name {
        first.last_name = Some(greatest);
    }
}

/// Returns a name with a placeholder for each of its numbers.
fn without_numbers(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut was_digit = false;
    for character in name.chars() {
        let is_digit = character.is_ascii_digit();
        match is_digit {
            true if !was_digit => pattern.push('\0'),
            true => {}
            false => pattern.push(character),
        }
        was_digit = is_digit;
    }
    pattern
}

/// Returns the numbers in a name, saturated, and the name as a tie-breaker.
fn numbers(name: &str) -> (Vec<u64>, &str) {
    let parts = name.split(|character: char| !character.is_ascii_digit());
    let numbers = parts.filter(|part| !part.is_empty());
    let numbers = numbers.map(|part| part.parse().unwrap_or(u64::MAX));
    (numbers.collect(), name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{
        CoreHead, End, Leaf, LeafEnd, Reply, Signal, StackId, Stacks, Strings, Task as Sent,
        TaskState,
    };

    use super::*;
    use crate::{
        dump::fixtures::{receive, task},
        frames::fixtures::{folded, frames},
        group::group_tasks,
        holders::Holders,
        order::{self, Order},
        selection::{Grouping, Selection},
        threads::group_threads,
        waits::Waits,
    };

    const PARKED: &str = "tokio::runtime::park::Inner::park";
    const TID: i32 = 12;

    fn stacks() -> [String; 5] {
        [
            "tokio::time::sleep::Sleep::poll app::shard".to_owned(),
            format!("{PARKED} tokio::runtime::scheduler::multi_thread::worker::Context::park"),
            format!("{PARKED} app::crunch"),
            format!("{PARKED} tokio::runtime::park::CachedParkThread::block_on app::main"),
            "app::hash rtops_tasks::tracked::Tracked::poll".to_owned(),
        ]
    }

    fn thread(tid: i32, name: &str, stack: u32) -> Thread {
        Thread {
            tid,
            name: Some(name.to_owned()),
            state: Some('S'),
            wchan: None,
            syscall: None,
            cpu_ticks: None,
            timeslices: None,
            afterwards: None,
            capture: ThreadCapture::Stack(Leaf {
                stack: StackId(stack),
                end: LeafEnd::Complete,
            }),
        }
    }

    fn running(id: u64, name: u32, tid: i32) -> Sent {
        Sent {
            state: TaskState::Running { since_ns: 1, tid },
            ..task(id, name, &[])
        }
    }

    fn dump(names: &[&str], tasks: Vec<Sent>, threads: Vec<Thread>) -> Dump {
        dump_with(Vec::new(), names, tasks, threads)
    }

    fn dump_with(
        mut replies: Vec<Reply>,
        names: &[&str],
        tasks: Vec<Sent>,
        threads: Vec<Thread>,
    ) -> Dump {
        let names = names.iter().map(|name| (*name).to_owned());
        replies.extend([
            Reply::Strings(Strings(names.collect())),
            Reply::Stacks(Stacks((1..=5).map(|number| vec![number]).collect())),
            Reply::Tasks(tasks),
            Reply::Threads(threads),
            Reply::End(End { gaps: Vec::new() }),
        ]);
        receive(replies).unwrap()
    }

    fn names() -> Frames {
        let stacks = stacks();
        let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
        folded(frames(&stacks))
    }

    #[test]
    fn names_that_differ_in_numbers_are_one_group() {
        let known = ["shard 2", "shard 10", "shard 0", "other"];
        let tasks = (1..=4).map(|id| task(u64::from(id), id, &[0])).collect();
        let dump = dump(&known, tasks, Vec::new());
        let groups = group_tasks(&dump, &names(), &Selection::default(), Grouping::Equal);
        let mut groups = together(groups);
        groups.sort_by_key(|group| group.tasks.len());
        let looks = groups
            .iter()
            .map(|group| (group.look.name.unwrap(), group.last_name, group.tasks.len()));
        let looks: Vec<_> = looks.collect();
        assert_eq!(
            looks,
            [("other", None, 1), ("shard 0", Some("shard 10"), 3)]
        );
    }

    #[test]
    fn tasks_that_run_are_told_apart_by_their_places_only() {
        let tasks = vec![running(1, 1, TID), running(2, 1, 13), running(3, 2, 14)];
        let threads = vec![thread(TID, "w", 4), thread(13, "w", 4), thread(14, "w", 4)];
        let dump = dump(&["hash", "other"], tasks, threads);
        let groups = group_tasks(&dump, &names(), &Selection::default(), Grouping::Equal);
        assert_eq!(groups.len(), 3);
        let counts = together(groups);
        let mut counts: Vec<usize> = counts.iter().map(|group| group.tasks.len()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2]);
    }

    #[test]
    fn threads_are_idle_or_shown_with_their_task_or_shown() {
        let threads = vec![
            thread(TID, "w", 4),
            thread(13, "w", 1),
            thread(14, "own", 2),
            thread(15, "main", 3),
            Thread {
                capture: ThreadCapture::Agent,
                ..thread(16, "agent", 0)
            },
        ];
        let dump = dump(&["hash"], vec![running(1, 1, TID)], threads);
        let frames = names();
        let everything = Selection::default();
        let tasks = group_tasks(&dump, &frames, &everything, Grouping::Equal);
        let threads = group_threads(&dump, &frames, &everything, Grouping::Equal);
        let arranged = arrange(&dump, &frames, &tasks, &threads);
        let idle: Vec<i32> = arranged.idle.iter().map(|thread| thread.tid).collect();
        // The future of `main` is not shown, so its thread is.
        let mut shown: Vec<i32> = arranged
            .groups
            .iter()
            .flat_map(|group| group.threads.iter().map(|thread| thread.tid))
            .collect();
        shown.sort_unstable();
        assert_eq!((idle, shown), (vec![13, 16], vec![14, 15]));
        // If tasks are not shown, their threads are.
        let arranged = arrange(&dump, &frames, &[], &threads);
        assert_eq!(arranged.groups.len(), 3);
    }

    #[test]
    fn the_thread_that_crashed_is_shown_beside_its_task() {
        let core = CoreHead {
            program: "app".to_owned(),
            arguments: String::new(),
            pid: Some(7),
            thread: Some(TID),
            was_alive: false,
            has_tokio: true,
            signal: Some(Signal {
                number: 11,
                code: None,
                address: None,
                access: None,
                sender: None,
            }),
            time: None,
            host: None,
        };
        let tasks = vec![running(1, 1, TID), running(2, 2, 13)];
        let threads = vec![thread(TID, "w", 4), thread(13, "w", 4)];
        let dump = dump_with(vec![Reply::Core(core)], &["hash", "other"], tasks, threads);
        let frames = names();
        let everything = Selection::default();
        let mut tasks = group_tasks(&dump, &frames, &everything, Grouping::Equal);
        let waits = Waits::of(&dump, &frames, &Holders::of(&dump));
        order::sort_tasks(&mut tasks, &dump, &frames, &waits, Order::Concern);
        assert_eq!(tasks.first().unwrap().look.name, Some("hash"));
        let threads = group_threads(&dump, &frames, &everything, Grouping::Equal);
        let arranged = arrange(&dump, &frames, &tasks, &threads);
        let shown = arranged.groups.iter().flat_map(|group| &group.threads);
        let shown: Vec<i32> = shown.map(|thread| thread.tid).collect();
        assert_eq!(shown, [TID]);
    }
}
