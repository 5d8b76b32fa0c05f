//! What a stack waits for: one table for tasks, one for threads.

use std::fmt;

use crate::{
    FrameView,
    fold::{FrameClass, classify_path},
    names,
    poll::polls,
};

macro_rules! wait_reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// What a task or a thread waits for.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum WaitReason {
            $($(#[$doc])* $name,)*
        }

        impl WaitReason {
            /// The words for it, as in text and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

wait_reasons! {
    /// A connection to come in.
    Accept => "I/O accept",
    /// The others of a barrier.
    Barrier => "barrier",
    /// A closure on a thread for blocking work.
    BlockingTask => "blocking task",
    /// The next message of a broadcast channel.
    BroadcastReceive => "broadcast receive",
    /// A message.
    ChannelReceive => "channel receive",
    /// Room in a channel.
    ChannelSend => "channel send",
    /// The other side of a channel to go.
    ChannelClosed => "channel closed",
    /// A condition variable.
    Condvar => "condvar wait",
    /// A connection to be made.
    Connect => "I/O connect",
    /// The budget of one poll is used up; it goes on in the next.
    CoopBudget => "yield (budget)",
    /// I/O events, in the thread that drives them.
    EpollWait => "epoll wait",
    /// An event that another task sends.
    Event => "event",
    /// A futex, for what is not known.
    Futex => "futex wait",
    /// Futures in a container, none of which shows itself.
    FuturesContainer => "futures container",
    /// The next tick.
    Interval => "interval",
    /// Readiness, the direction is not known.
    IoReadiness => "I/O readiness",
    /// Bytes or a datagram.
    Read => "I/O read",
    /// Bytes to be taken.
    Write => "I/O write",
    /// A task or thread to end.
    Join => "join",
    /// A mutex.
    MutexLock => "mutex lock",
    /// Nothing that will come.
    Never => "never",
    /// A notification.
    Notify => "notify",
    /// The first value of a cell.
    OnceCell => "once cell",
    /// The value of a oneshot channel.
    OneshotReceive => "oneshot receive",
    /// A thread with nothing to do.
    Parked => "parked",
    /// A process to end.
    ProcessExit => "process exit",
    /// A server's next request on an open connection.
    Request => "next request",
    /// Nothing: it runs.
    Running => "running",
    /// A read-write lock, the direction is not known.
    RwLock => "rwlock",
    /// A read-write lock for reading.
    RwLockRead => "rwlock read",
    /// A read-write lock for writing.
    RwLockWrite => "rwlock write",
    /// A permit.
    SemaphoreAcquire => "semaphore acquire",
    /// A signal to the process.
    Signal => "signal",
    /// Time to pass.
    Sleep => "sleep",
    /// The end of a time-out around something else.
    Timeout => "timeout",
    /// A change of a watched value.
    WatchChanged => "watch changed",
    /// Its next turn.
    Yield => "yield",
    /// No rule knows.
    Unknown => "unknown",
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How waiting for something comes to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaitEnd {
    /// By itself: time passes, or it is about to run.
    Timed,
    /// With the next of what an idle service waits for, whenever that comes.
    Idle,
    /// When somebody in the process lets go, catches up or arrives, which normally is soon.
    Contended,
    /// When somebody acts, soon or late.
    Open,
}

impl WaitReason {
    /// The words for several of them at once.
    #[must_use]
    pub fn words(waits: &[Self]) -> String {
        let words: Vec<&str> = waits.iter().map(|wait| wait.as_str()).collect();
        words.join(" + ")
    }

    /// How waiting for it ends.
    #[must_use]
    pub const fn end(self) -> WaitEnd {
        match self {
            Self::CoopBudget
            | Self::Interval
            | Self::Running
            | Self::Sleep
            | Self::Timeout
            | Self::Yield => WaitEnd::Timed,
            Self::Accept
            | Self::EpollWait
            | Self::Parked
            | Self::ProcessExit
            | Self::Request
            | Self::Signal => WaitEnd::Idle,
            Self::Barrier
            | Self::ChannelSend
            | Self::MutexLock
            | Self::OnceCell
            | Self::RwLock
            | Self::RwLockRead
            | Self::RwLockWrite
            | Self::SemaphoreAcquire => WaitEnd::Contended,
            Self::BlockingTask
            | Self::BroadcastReceive
            | Self::ChannelClosed
            | Self::ChannelReceive
            | Self::Condvar
            | Self::Connect
            | Self::Event
            | Self::Futex
            | Self::FuturesContainer
            | Self::IoReadiness
            | Self::Join
            | Self::Never
            | Self::Notify
            | Self::OneshotReceive
            | Self::Read
            | Self::Unknown
            | Self::WatchChanged
            | Self::Write => WaitEnd::Open,
        }
    }
}

/// The segments that a path starts with, one of its later segments (`recv*` for all that start so,
/// nothing for any), and what it waits for.
type Rule = (&'static str, &'static str, WaitReason);

/// For tasks. The first rule that fits a frame counts. Where line tables leave out a method's
/// name (`tokio::net::tcp::listener::{async fn}`), its module has to do.
const TASK_RULES: &[Rule] = {
    use WaitReason as W;
    &[
        ("tokio::time::timeout", "", W::Timeout),
        ("tokio::time::interval", "", W::Interval),
        ("tokio::time::sleep", "", W::Sleep),
        ("tokio::runtime::time", "", W::Sleep),
        ("tokio::sync::mpsc", "recv*", W::ChannelReceive),
        ("tokio::sync::mpsc", "closed", W::ChannelClosed),
        ("tokio::sync::mpsc", "reserve*", W::ChannelSend),
        ("tokio::sync::mpsc", "send*", W::ChannelSend),
        ("tokio::sync::mpsc::bounded", "", W::ChannelSend),
        ("tokio::sync::oneshot", "closed", W::ChannelClosed),
        ("tokio::sync::oneshot", "poll_closed", W::ChannelClosed),
        ("tokio::sync::oneshot", "", W::OneshotReceive),
        ("tokio::sync::broadcast", "", W::BroadcastReceive),
        ("tokio::sync::watch", "closed", W::ChannelClosed),
        ("tokio::sync::watch", "", W::WatchChanged),
        ("tokio::sync::barrier", "", W::Barrier),
        ("tokio::sync::once_cell", "", W::OnceCell),
        ("tokio::sync::set_once", "", W::OnceCell),
        ("tokio::sync::mutex", "", W::MutexLock),
        ("tokio::sync::rwlock", "read*", W::RwLockRead),
        ("tokio::sync::rwlock", "write", W::RwLockWrite),
        ("tokio::sync::rwlock", "", W::RwLock),
        ("tokio::sync::batch_semaphore", "", W::SemaphoreAcquire),
        ("tokio::sync::semaphore", "", W::SemaphoreAcquire),
        ("tokio::sync::notify", "", W::Notify),
        ("tokio::runtime::task::join", "", W::Join),
        ("tokio::task::join_set", "", W::Join),
        ("tokio::runtime::blocking", "", W::BlockingTask),
        ("tokio::task::blocking", "", W::BlockingTask),
        ("tokio::fs", "", W::BlockingTask),
        // Standard input and output, which a thread of the blocking pool reads and writes.
        ("tokio::io::blocking", "poll_read*", W::Read),
        ("tokio::io::blocking", "poll_write*", W::Write),
        ("tokio::io::blocking", "", W::BlockingTask),
        ("tokio::process", "", W::ProcessExit),
        ("tokio::signal", "", W::Signal),
        ("tokio::task::yield_now", "", W::Yield),
        ("tokio::task::coop", "poll_proceed", W::CoopBudget),
        ("tokio::task::coop", "register_waker", W::CoopBudget),
        ("tokio::net", "ready", W::IoReadiness),
        ("tokio::net", "accept", W::Accept),
        ("tokio::net::tcp::listener", "", W::Accept),
        ("tokio::net::unix::listener", "", W::Accept),
        ("tokio::net", "connect", W::Connect),
        ("tokio::net", "poll_read*", W::Read),
        ("tokio::net", "peek*", W::Read),
        ("tokio::net", "read*", W::Read),
        ("tokio::net", "recv*", W::Read),
        ("tokio::net", "poll_write*", W::Write),
        ("tokio::net", "poll_flush", W::Write),
        ("tokio::net", "send*", W::Write),
        ("tokio::net", "writ*", W::Write),
        ("tokio::io::util::copy", "", W::IoReadiness),
        ("tokio::io::util", "read*", W::Read),
        ("tokio::io::util::fill_buf", "", W::Read),
        ("tokio::io::util::lines", "", W::Read),
        ("tokio::io::util", "write*", W::Write),
        ("tokio::io::util::flush", "", W::Write),
        ("tokio::io::util::shutdown", "", W::Write),
        ("tokio::io", "poll_read*", W::Read),
        ("tokio::io", "poll_write*", W::Write),
        ("tokio::runtime::io", "poll_read_io", W::Read),
        ("tokio::runtime::io", "poll_read_ready", W::Read),
        ("tokio::runtime::io", "poll_write_io", W::Write),
        ("tokio::runtime::io", "poll_write_ready", W::Write),
        ("tokio::runtime::io", "", W::IoReadiness),
        (
            "futures_util::stream::futures_unordered",
            "",
            W::FuturesContainer,
        ),
        ("futures_util::future::join_all", "", W::FuturesContainer),
        ("hyper::proto::h1", "poll_read_head", W::Request),
        ("hyper::proto::h1", "poll_read_keep_alive", W::Request),
        ("hyper::proto::h1", "require_empty_read", W::Request),
        ("h2::server", "poll_accept", W::Request),
        ("core::future::pending", "", W::Never),
        ("futures_util::future::pending", "", W::Never),
        ("futures_util::lock", "", W::MutexLock),
        ("futures_util::io::read", "", W::Read),
        ("futures_util::io::write", "", W::Write),
        ("futures_channel::oneshot", "", W::OneshotReceive),
        ("futures_channel::mpsc", "poll_ready", W::ChannelSend),
        ("futures_channel::mpsc", "poll_unparked", W::ChannelSend),
        ("futures_channel::mpsc", "poll_next", W::ChannelReceive),
        ("futures_channel::mpsc", "next_message", W::ChannelReceive),
        ("async_channel", "Recv", W::ChannelReceive),
        ("async_channel", "recv*", W::ChannelReceive),
        ("async_channel", "poll_next", W::ChannelReceive),
        ("async_channel", "Send", W::ChannelSend),
        ("async_lock::mutex", "", W::MutexLock),
        ("async_lock::rwlock", "Read", W::RwLockRead),
        ("async_lock::rwlock", "read*", W::RwLockRead),
        ("async_lock::rwlock", "Write", W::RwLockWrite),
        ("async_lock::rwlock", "write", W::RwLockWrite),
        ("async_lock::rwlock", "", W::RwLock),
        ("async_lock::semaphore", "", W::SemaphoreAcquire),
        ("async_lock::barrier", "", W::Barrier),
        ("async_lock::once_cell", "", W::OnceCell),
        ("async_io::Timer", "", W::Sleep),
        ("async_io::Async", "accept", W::Accept),
        ("async_io", "poll_readable", W::Read),
        ("async_io", "poll_read*", W::Read),
        ("async_io", "recv*", W::Read),
        ("async_io", "poll_writable", W::Write),
        ("async_io", "poll_write*", W::Write),
        ("async_io::reactor", "", W::IoReadiness),
        ("async_net", "accept", W::Accept),
        ("async_net", "connect", W::Connect),
        ("async_net", "recv*", W::Read),
        ("async_net", "poll_read*", W::Read),
        ("async_net", "poll_write*", W::Write),
        ("async_process", "", W::ProcessExit),
        ("async_task::task", "", W::Join),
        ("blocking", "", W::BlockingTask),
        ("event_listener", "", W::Event),
    ]
};

/// For threads, evaluated as for tasks.
const THREAD_RULES: &[Rule] = {
    use WaitReason as W;
    &[
        // What wakes others, in the modules of those who wait.
        ("std::sync", "notify*", W::Running),
        ("std::sys::sync", "notify*", W::Running),
        ("std::sys::sync", "unlock*", W::Running),
        ("std::sys::sync", "unpark", W::Running),
        ("std::sys::sync", "wake*", W::Running),
        ("std::thread", "unpark", W::Running),
        ("parking_lot", "notify*", W::Running),
        ("parking_lot", "unlock*", W::Running),
        ("parking_lot_core", "unpark*", W::Running),
        ("parking", "unpark", W::Running),
        ("tokio::runtime", "unpark*", W::Running),
        ("mio", "poll", W::EpollWait),
        ("polling", "wait*", W::EpollWait),
        ("epoll_wait", "", W::EpollWait),
        ("tokio::runtime::io::driver", "", W::EpollWait),
        ("tokio::runtime", "park*", W::Parked),
        ("tokio::runtime::blocking::pool", "", W::Parked),
        ("std::thread::sleep", "", W::Sleep),
        ("std::thread", "sleep*", W::Sleep),
        ("std::thread", "join", W::Join),
        ("std::thread", "park*", W::Parked),
        ("parking", "", W::Parked),
        ("rtops_sync::locks", "blocking_lock*", W::MutexLock),
        ("rtops_sync::locks", "blocking_read", W::RwLockRead),
        ("rtops_sync::locks", "blocking_write", W::RwLockWrite),
        (
            "rtops_sync::locks",
            "blocking_acquire*",
            W::SemaphoreAcquire,
        ),
        ("std::sync::mpsc", "recv*", W::ChannelReceive),
        ("std::sync::mpsc", "send*", W::ChannelSend),
        ("crossbeam_channel", "recv*", W::ChannelReceive),
        ("crossbeam_channel", "send*", W::ChannelSend),
        ("std::sync::barrier", "", W::Barrier),
        ("std::sync", "condvar", W::Condvar),
        ("std::sync", "Condvar", W::Condvar),
        ("std::sys::sync::condvar", "", W::Condvar),
        ("std::sync", "rwlock", W::RwLock),
        ("std::sys::sync::rwlock", "", W::RwLock),
        ("std::sync", "mutex", W::MutexLock),
        ("std::sync", "Mutex", W::MutexLock),
        ("std::sys::sync::mutex", "", W::MutexLock),
        ("parking_lot_core", "", W::Futex),
        ("parking_lot::raw_mutex", "", W::MutexLock),
        ("parking_lot::raw_rwlock", "", W::RwLock),
        ("parking_lot::condvar", "", W::Condvar),
        ("std::net", "accept", W::Accept),
        ("std::os::unix::net", "accept", W::Accept),
        ("std::net", "connect", W::Connect),
        ("std::process", "wait*", W::ProcessExit),
        ("std::sys", "read*", W::Read),
        ("std::sys", "write", W::Write),
    ]
};

/// What a system call waits for when no frame says more; numbers of x86_64.
const SYSCALLS: &[(i64, WaitReason)] = &[
    (0, WaitReason::Read),
    (1, WaitReason::Write),
    (7, WaitReason::IoReadiness),
    (17, WaitReason::Read),
    (18, WaitReason::Write),
    (19, WaitReason::Read),
    (20, WaitReason::Write),
    (23, WaitReason::IoReadiness),
    (35, WaitReason::Sleep),
    (42, WaitReason::Connect),
    (43, WaitReason::Accept),
    (44, WaitReason::Write),
    (45, WaitReason::Read),
    (46, WaitReason::Write),
    (47, WaitReason::Read),
    (61, WaitReason::ProcessExit),
    (128, WaitReason::Signal),
    (202, WaitReason::Futex),
    (230, WaitReason::Sleep),
    (232, WaitReason::EpollWait),
    (247, WaitReason::ProcessExit),
    (270, WaitReason::IoReadiness),
    (271, WaitReason::IoReadiness),
    (281, WaitReason::EpollWait),
    (288, WaitReason::Accept),
    (441, WaitReason::EpollWait),
];

/// The wakers that containers of futures make for their children.
const CHILD_WAKERS: &str = "futures_util::stream::futures_unordered::task::";

/// What a suspended task waits for at this leaf; the frames innermost first.
#[must_use]
pub fn task_wait(frames: &[FrameView<'_>]) -> WaitReason {
    let clone = clone_of_child(frames);
    let frames = frames.get(clone..).unwrap_or_default();
    judge(frames, TASK_RULES).unwrap_or(WaitReason::Unknown)
}

/// Whether the waker that was registered at this leaf is one that a container of futures made for one of
/// its children; the frames innermost first.
#[must_use]
pub fn is_child(frames: &[FrameView<'_>]) -> bool {
    clone_of_child(frames) > 0
}

/// How many of the innermost frames clone the waker of a container's child: all that is further in than
/// the code of that waker is a part of it.
fn clone_of_child(frames: &[FrameView<'_>]) -> usize {
    let inside = frames.iter().take_while(|frame| {
        let class = classify_path(&names::path(frame.function));
        polls(frame.function).is_none() && class != FrameClass::User
    });
    let clones = inside
        .zip(1..)
        .filter(|(frame, _)| names::path(frame.function).starts_with(CHILD_WAKERS));
    clones.last().map_or(0, |(_, length)| length)
}

/// Whether this function is a part of a container of futures, other than the wakers of its children.
#[must_use]
pub fn is_container(function: &str) -> bool {
    let path = names::path(function);
    rule_for(&path, TASK_RULES) == Some(WaitReason::FuturesContainer)
        && !path.starts_with(CHILD_WAKERS)
}

/// What a thread does; the frames innermost first, the state as in `/proc/PID/stat` and the
/// number of the system call that it is in, where these are known.
#[must_use]
pub fn thread_wait(
    frames: &[FrameView<'_>],
    state: Option<char>,
    syscall: Option<i64>,
) -> WaitReason {
    if state == Some('R') {
        return WaitReason::Running;
    }
    let called = SYSCALLS
        .iter()
        .find(|(number, _)| Some(*number) == syscall)
        .map(|(_, reason)| *reason);
    match (called, judge(frames, THREAD_RULES)) {
        // A futex is how all of them wait; other calls are what they say.
        (Some(WaitReason::Futex) | None, Some(judged)) => judged,
        (Some(called), _) => called,
        (None, None) => WaitReason::Unknown,
    }
}

/// Goes outwards from the leaf up to the user's code; a frame further out may say more exactly
/// what a primitive is used for.
fn judge(frames: &[FrameView<'_>], rules: &[Rule]) -> Option<WaitReason> {
    let mut reason = None;
    for frame in frames {
        let path = names::path(frame.function);
        if let Some(found) = rule_for(&path, rules) {
            if found == WaitReason::FuturesContainer && reason.is_some() {
                // Its children do not wait for what it is a part of.
                break;
            }
            reason = match reason {
                Some(known) if !refines(found, known) => Some(known),
                _ => Some(found),
            };
        } else if path.contains("::") && classify_path(&path) == FrameClass::User {
            // What its caller does is of no account. C functions may stand below a library.
            break;
        }
    }
    reason
}

fn rule_for(path: &str, rules: &[Rule]) -> Option<WaitReason> {
    let rule = rules.iter().find(|(prefix, word, _)| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            (rest.is_empty() || rest.starts_with("::"))
                && (word.is_empty() || rest.split("::").any(|segment| fits(segment, word)))
        })
    });
    rule.map(|(_, _, reason)| *reason)
}

fn fits(segment: &str, word: &str) -> bool {
    match word.strip_suffix('*') {
        Some(start) => segment.starts_with(start),
        None => segment == word,
    }
}

/// Whether a finding further out says more than the one at the leaf.
fn refines(outer: WaitReason, inner: WaitReason) -> bool {
    use WaitReason as W;
    match inner {
        // The reaction to a pidfd, a signal pipe or a timer's registration.
        W::IoReadiness | W::Read if matches!(outer, W::ProcessExit | W::Signal) => true,
        W::Sleep => matches!(outer, W::Timeout | W::Interval),
        W::SemaphoreAcquire => matches!(
            outer,
            W::MutexLock
                | W::RwLock
                | W::RwLockRead
                | W::RwLockWrite
                | W::OnceCell
                | W::ChannelSend
        ),
        W::RwLock => matches!(outer, W::RwLockRead | W::RwLockWrite),
        W::MutexLock => matches!(outer, W::RwLockRead | W::RwLockWrite),
        W::Notify => !matches!(outer, W::Timeout | W::ChannelSend),
        W::Event | W::Condvar | W::Parked | W::Futex => outer != W::Timeout,
        W::WatchChanged => matches!(outer, W::Barrier | W::Signal),
        W::ChannelReceive => matches!(outer, W::Signal),
        W::IoReadiness => matches!(
            outer,
            W::Accept | W::Connect | W::Read | W::Request | W::Sleep | W::Write
        ),
        W::Write => matches!(outer, W::Connect),
        W::Read => matches!(outer, W::Accept | W::Request),
        W::Join | W::BlockingTask if matches!(outer, W::Read | W::Write) => true,
        W::Join => matches!(outer, W::BlockingTask),
        W::Signal => matches!(outer, W::ProcessExit),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
