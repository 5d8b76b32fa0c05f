//! Sorts groups so that those an operator should look at come first.

use std::{cmp::Reverse, collections::HashSet, time::Duration};

use rtops_symbols::{WaitEnd, WaitReason};

use crate::{
    dump::Dump,
    frames::Frames,
    group::TaskGroup,
    task::{State, Task, TaskKey},
    threads::{self, ThreadGroup},
    waits::Waits,
    words,
};

/// A poll that takes longer than this is a long one.
const LONG_POLL: Duration = Duration::from_millis(100);

/// The sort order of groups.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// By how much they deserve a look.
    #[default]
    Concern,
    /// By how many there are.
    Count,
    /// By how long they have been in their state; unknown ages come last.
    Age,
}

/// How much a group of tasks deserves a look, greatest concern first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Concern {
    /// Nothing will wake it, or nothing did; or its thread got the signal that ended the process.
    Never,
    /// Waits in a circle, or is held back itself or in one of its spans.
    HeldUp,
    /// Inside a poll for long, or in one whose thread does not run.
    RunsLong,
    /// Woken, but its executor has no thread for it.
    Starved,
    /// About to be polled.
    Woken,
    /// Waits until another task releases something.
    Lock,
    /// Waits until a receiver catches up.
    Send,
    /// Waits for a thread.
    Queued,
    /// Inside a poll.
    Runs,
    /// Waits for anything else.
    Waits,
    /// Waits for work, or for something that comes on its own.
    Idle,
}

impl Concern {
    /// Returns the concern about tasks that look the same; `circles` are the tasks in circles.
    fn of(dump: &Dump, group: &TaskGroup, circles: &HashSet<TaskKey>) -> Self {
        if group.tasks.iter().any(|task| circles.contains(&task.key)) {
            return Self::HeldUp;
        }
        match group.look.state {
            State::Never | State::Ready => Self::Never,
            State::HeldBack => Self::HeldUp,
            State::Running { .. } if group.tasks.iter().any(|task| has_crashed(dump, task)) => {
                Self::Never
            }
            State::Running { .. } if group.tasks.iter().any(|task| runs_long(dump, task)) => {
                Self::RunsLong
            }
            State::Running { .. } => Self::Runs,
            State::Starved => Self::Starved,
            State::New | State::Woken => Self::Woken,
            State::Submitted | State::Queued => Self::Queued,
            State::Waiting if !group.look.held_back.is_empty() => Self::HeldUp,
            State::Waiting if group.is_idle() => Self::Idle,
            State::Waiting => {
                let waits = group.waits().into_iter().map(Self::of_wait);
                waits.min().unwrap_or(Self::Waits)
            }
        }
    }

    const fn of_wait(wait: WaitReason) -> Self {
        match wait {
            WaitReason::Never => Self::Never,
            WaitReason::ChannelSend => Self::Send,
            wait if matches!(wait.end(), WaitEnd::Contended) => Self::Lock,
            _ => Self::Waits,
        }
    }
}

/// Whether services at rest wait for this, too.
const fn is_idle(wait: WaitReason) -> bool {
    matches!(
        wait,
        WaitReason::Accept
            | WaitReason::BroadcastReceive
            | WaitReason::ChannelReceive
            | WaitReason::Http2Frame
            | WaitReason::Interval
            | WaitReason::Request
            | WaitReason::Shutdown
            | WaitReason::Signal
            | WaitReason::Sleep
            | WaitReason::WatchChanged
    )
}

/// Whether a name belongs to a request in flight, in the form that `rtops_http`
/// uses: a method and a route.
fn is_request(name: &str) -> bool {
    name.split_once(' ').is_some_and(|(method, route)| {
        method.bytes().all(|byte| byte.is_ascii_uppercase()) && route.starts_with('/')
    })
}

impl TaskGroup<'_> {
    /// Whether neither a name nor a frame shows that the tasks are the target's own.
    fn is_foreign(&self, frames: &Frames) -> bool {
        let mut links = self.chains.iter().flat_map(|chain| &chain.links);
        self.look.name.is_none() && !links.any(|link| frames.is_own(link))
    }

    /// Whether they wait as in a service at rest, with nothing to report but where.
    pub fn is_idle(&self) -> bool {
        let waits = self.waits();
        let look = &self.look;
        let is_whole = |wait: Option<WaitReason>| wait.is_some_and(is_idle);
        look.state == State::Waiting
            && !waits.is_empty()
            && look.remark.is_none()
            && !look.name.is_some_and(is_request)
            && self.serving().is_none()
            && look.silent.is_empty()
            && look.held_back.is_empty()
            && self
                .telling()
                .iter()
                .all(|chain| is_whole(chain.wait) && chain.incomplete.is_none())
    }
}

/// Whether the thread that runs a task got the signal that ended the process.
fn has_crashed(dump: &Dump, task: &Task) -> bool {
    let crashed = threads::crash(dump).map(|(thread, _)| thread);
    matches!(task.state, State::Running { tid: Some(tid) } if Some(tid) == crashed)
}

/// Whether a poll is known to take long, or its thread does not run.
fn runs_long(dump: &Dump, task: &Task) -> bool {
    let State::Running { tid } = task.state else {
        return false;
    };
    let thread = tid.and_then(|tid| dump.thread(tid));
    let stands_still = thread.is_some_and(|thread| !matches!(thread.state, Some('R') | None));
    stands_still || task.since().is_some_and(|since| since >= LONG_POLL)
}

/// Sorts groups of tasks. Among groups of equal concern, tasks of libraries come last.
pub fn sort_tasks(
    groups: &mut [TaskGroup],
    dump: &Dump,
    frames: &Frames,
    waits: &Waits,
    order: Order,
) {
    let circles = waits.circles();
    let steps = circles.iter().flat_map(|circle| &circle.steps);
    let circles: HashSet<TaskKey> = steps.map(|step| step.task.key).collect();
    groups.sort_by_cached_key(|group| {
        let key = group.tasks.first().map(|task| task.key);
        let first = group.tasks.iter().map(|task| number(task)).min();
        let longest = group.times().map(|(_, longest)| longest);
        let count = group.tasks.len();
        let concern = Concern::of(dump, group, &circles);
        // The requested order first, then the usual one.
        let wanted = match order {
            Order::Concern => ((concern, group.is_foreign(frames)), None, 0),
            Order::Count => ((Concern::Never, false), None, count),
            Order::Age => ((Concern::Never, false), longest, 0),
        };
        let (by_concern, by_age, by_count) = wanted;
        (
            by_concern,
            Reverse(by_age),
            Reverse(by_count),
            Reverse(count),
            Reverse(longest),
            // The same in every process of a program, wherever its memory is.
            (first, words::called(group), key),
        )
    });
}

/// Returns a sort key for the order of creation: the agent's number if tracked,
/// otherwise tokio's, if known.
fn number(task: &Task) -> (bool, u64) {
    match task.key {
        TaskKey::Tracked(id) => (false, id),
        TaskKey::Untracked(_) => {
            let number = task.memory().and_then(|memory| memory.number);
            (true, number.unwrap_or(u64::MAX))
        }
    }
}

/// Sorts groups of threads: the crashed thread comes first; the ages of threads are unknown.
pub fn sort_threads(groups: &mut [ThreadGroup], dump: &Dump, order: Order) {
    groups.sort_by_cached_key(|group| {
        let first = group.threads.first().map(|thread| thread.tid);
        let is_alive = group.killed_by(dump).is_none();
        let concern = match order {
            Order::Concern => concern_of_thread(group),
            Order::Count | Order::Age => Concern::Never,
        };
        (is_alive, concern, Reverse(group.threads.len()), first)
    });
}

fn concern_of_thread(group: &ThreadGroup) -> Concern {
    match group.wait {
        Some(WaitReason::Running) => Concern::Runs,
        Some(WaitReason::EpollWait | WaitReason::Parked) => Concern::Idle,
        Some(wait) => Concern::of_wait(wait),
        None => Concern::Waits,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{
        End, Reply, Stacks, Strings, Task as Sent, TaskState, Thread, ThreadCapture, WakerState,
    };

    use super::*;
    use crate::{
        dump::fixtures::{receive, task},
        frames::fixtures::frames,
        group::group_tasks,
        holders::Holders,
        selection::{Grouping, Selection},
    };

    const NAMES: [&str; 8] = [
        "tick",
        "cart",
        "push",
        "read",
        "lost",
        "spin",
        "step",
        "GET /tick",
    ];
    const STACKS: [&str; 5] = [
        "tokio::time::sleep::Sleep::poll app::tick",
        "tokio::sync::mutex::Mutex::lock app::cart",
        "tokio::sync::mpsc::bounded::Sender::send app::push",
        "tokio::net::tcp::stream::TcpStream::read app::read",
        "tokio::sync::oneshot::Receiver::poll app::lost",
    ];

    fn running(id: u64, name: u32, tid: i32) -> Sent {
        Sent {
            state: TaskState::Running {
                since_ns: 1_000_000,
                tid,
            },
            ..task(id, name, &[])
        }
    }

    fn thread(tid: i32, state: char) -> Thread {
        Thread {
            tid,
            name: None,
            state: Some(state),
            wchan: None,
            syscall: None,
            cpu_ticks: None,
            timeslices: None,
            afterwards: None,
            capture: ThreadCapture::Absent,
        }
    }

    fn sorted(order: Order) -> Vec<&'static str> {
        let numbers: Vec<Vec<u64>> = (1..=5).map(|number| vec![number]).collect();
        let dump = receive(vec![
            Reply::Strings(Strings(NAMES.map(str::to_owned).to_vec())),
            Reply::Stacks(Stacks(numbers)),
            Reply::Tasks(vec![
                task(9, 1, &[0]),
                task(8, 1, &[0]),
                task(7, 1, &[0]),
                task(6, 4, &[3]),
                task(5, 4, &[3]),
                task(4, 3, &[2]),
                task(3, 2, &[1]),
                Sent {
                    waker: WakerState::None,
                    ..task(2, 5, &[4])
                },
                task(1, 8, &[0]),
                running(10, 6, 70),
                running(11, 7, 71),
            ]),
            Reply::Threads(vec![thread(70, 'R'), thread(71, 'S')]),
            Reply::End(End { gaps: Vec::new() }),
        ])
        .unwrap();
        let frames = frames(&STACKS);
        let holders = Holders::of(&dump);
        let waits = Waits::of(&dump, &frames, &holders);
        let everything = Selection::default();
        let mut groups = group_tasks(&dump, &frames, &everything, Grouping::Equal);
        sort_tasks(&mut groups, &dump, &frames, &waits, order);
        let names = groups.iter().map(|group| group.look.name.unwrap());
        let known = names.map(|name| NAMES.iter().find(|known| **known == name).unwrap());
        known.copied().collect()
    }

    #[test]
    fn what_deserves_a_look_is_first_and_what_is_idle_last() {
        let by_concern = [
            "lost",
            "step",
            "cart",
            "push",
            "spin",
            "read",
            "GET /tick",
            "tick",
        ];
        assert_eq!(sorted(Order::Concern), by_concern);
    }

    #[test]
    fn tasks_of_libraries_come_behind_own_ones_that_wait_alike() {
        use crate::untracked::fixtures::{PUMP, SERVE, dump_of, named, outside, untracked};
        let stacks = [
            "tokio::net::tcp::stream::TcpStream::read hyper::server::serve",
            "tokio::net::tcp::stream::TcpStream::read app::serve",
        ];
        let foreign = (1..4).map(|number| untracked(number, PUMP, &[0]));
        let tasks = foreign.chain([untracked(4, SERVE, &[1])]);
        let dump = dump_of(vec![outside()], &stacks, tasks.collect());
        let frames = named(&stacks);
        let waits = Waits::of(&dump, &frames, &Holders::of(&dump));
        let everything = Selection::default();
        let mut groups = group_tasks(&dump, &frames, &everything, Grouping::Equal);
        let mut counts = |order| -> Vec<usize> {
            sort_tasks(&mut groups, &dump, &frames, &waits, order);
            groups.iter().map(|group| group.tasks.len()).collect()
        };
        assert_eq!(counts(Order::Concern), [1, 3]);
        assert_eq!(counts(Order::Count), [3, 1]);
    }

    #[test]
    fn groups_are_sorted_as_the_user_wishes() {
        let by_count = sorted(Order::Count);
        assert_eq!(by_count.get(..2).unwrap(), ["tick", "read"]);
        let by_age = sorted(Order::Age);
        assert_eq!(by_age.first().unwrap(), &"tick");
        let waiting = ["tick", "read", "push", "cart", "lost"];
        assert_eq!(by_age.get(..5).unwrap(), waiting);
    }
}
