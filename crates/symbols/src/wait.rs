//! What a stack waits for: one table for tasks, one for threads.

use std::fmt;

use self::rules::{AROUND, C_FUNCTIONS, ENDS, Rule, SERVING, SYSCALLS, TASK_RULES, THREAD_RULES};
use crate::{Name, fold::FrameClass};

mod rules;

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
    /// A future that a thread polls by itself, and parks in between.
    BlockOn => "block_on",
    /// Somebody to ask for more of a body that comes in.
    BodyReader => "body reader",
    /// More of a body, from what makes it.
    BodyToSend => "body to send",
    /// A closure on a thread for blocking work.
    BlockingTask => "blocking task",
    /// The next message of a broadcast channel.
    BroadcastReceive => "broadcast receive",
    /// Somebody to cancel.
    Cancellation => "cancellation",
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
    /// An answer of the file system, such as that for the state of a file.
    FileCall => "file call",
    /// The lock of a file, which another process may have.
    FileLock => "file lock",
    /// A file to be opened, or the other end of a named pipe.
    FileOpen => "file open",
    /// A part of a file.
    FileRead => "file read",
    /// What was written to a file to be on the disk.
    FileSync => "file sync",
    /// A part of a file to be taken.
    FileWrite => "file write",
    /// Futures in a container, none of which shows itself.
    FuturesContainer => "futures container",
    /// A message of a gRPC stream.
    GrpcMessage => "gRPC message",
    /// The other side to give up, while something else is done for it.
    HangUp => "hang-up",
    /// A part of the body of a request or response.
    HttpBody => "HTTP body",
    /// A response.
    HttpResponse => "HTTP response",
    /// A frame on a connection that many requests share.
    Http2Frame => "HTTP/2 frame",
    /// Leave of the other side to send more.
    Http2Window => "HTTP/2 window",
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
    /// Bytes out of a pipe, such as the output of a child.
    PipeRead => "pipe read",
    /// Bytes to be taken out of a pipe, such as by a child.
    PipeWrite => "pipe write",
    /// A connection of a pool.
    PoolConnection => "pool connection",
    /// A process to end.
    ProcessExit => "process exit",
    /// The next request on an open connection, or the rest of its head.
    Request => "next request",
    /// More of the body of a server's response, from what makes it.
    ResponseBody => "response body",
    /// The addresses of a host.
    Resolve => "DNS lookup",
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
    /// A service to take one more request.
    ServiceReady => "service ready",
    /// A server to be shut down.
    Shutdown => "shutdown",
    /// A signal to the process.
    Signal => "signal",
    /// A lock, by looking at it over and over again.
    SpinLock => "spin lock",
    /// Time to pass.
    Sleep => "sleep",
    /// The end of a time-out around something else.
    Timeout => "timeout",
    /// A change of a watched value.
    WatchChanged => "watch changed",
    /// A message of a websocket.
    WebsocketReceive => "websocket receive",
    /// A message of a websocket to be taken.
    WebsocketSend => "websocket send",
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
            | Self::BlockOn
            | Self::Cancellation
            | Self::EpollWait
            | Self::Http2Frame
            | Self::Parked
            | Self::ProcessExit
            | Self::Request
            | Self::Shutdown
            | Self::Signal => WaitEnd::Idle,
            Self::Barrier
            | Self::ChannelSend
            | Self::MutexLock
            | Self::OnceCell
            | Self::PoolConnection
            | Self::RwLock
            | Self::RwLockRead
            | Self::RwLockWrite
            | Self::SemaphoreAcquire
            | Self::ServiceReady
            | Self::SpinLock => WaitEnd::Contended,
            Self::BlockingTask
            | Self::BodyReader
            | Self::BodyToSend
            | Self::BroadcastReceive
            | Self::ChannelClosed
            | Self::ChannelReceive
            | Self::Condvar
            | Self::Connect
            | Self::Event
            | Self::FileCall
            | Self::FileLock
            | Self::FileOpen
            | Self::FileRead
            | Self::FileSync
            | Self::FileWrite
            | Self::Futex
            | Self::FuturesContainer
            | Self::GrpcMessage
            | Self::HangUp
            | Self::HttpBody
            | Self::HttpResponse
            | Self::Http2Window
            | Self::IoReadiness
            | Self::Join
            | Self::Never
            | Self::Notify
            | Self::OneshotReceive
            | Self::PipeRead
            | Self::PipeWrite
            | Self::Read
            | Self::Resolve
            | Self::ResponseBody
            | Self::Unknown
            | Self::WatchChanged
            | Self::WebsocketReceive
            | Self::WebsocketSend
            | Self::Write => WaitEnd::Open,
        }
    }
}

impl WaitReason {
    /// Whether a connection waits for this besides what it is about: `serves` a request, or waits for one.
    #[must_use]
    pub const fn is_aside(self, serves: bool) -> bool {
        match self {
            Self::BodyReader | Self::HangUp | Self::Shutdown => true,
            Self::Http2Frame | Self::Request => serves,
            _ => false,
        }
    }
}

/// What a server does for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serving {
    /// Its handler makes the response.
    Handler,
    /// The response is sent.
    Response,
}

/// What a server does for a request in the part of a task that waits at this leaf, if anything; the frames
/// innermost first.
#[must_use]
pub fn serving(frames: &[&Name]) -> Option<Serving> {
    let mut paths = frames.iter().map(|frame| frame.path.as_str());
    let serving = paths.find_map(|path| rule_for(path, SERVING))?;
    // Clients send in the same way.
    (!paths.any(|path| path.starts_with("hyper::client::"))).then_some(serving)
}

/// The wakers that containers of futures make for their children.
const CHILD_WAKERS: &str = "futures_util::stream::futures_unordered::task::";

/// What a suspended task waits for at this leaf; the frames innermost first.
#[must_use]
pub fn task_wait(frames: &[&Name]) -> WaitReason {
    let clone = clone_of_child(frames);
    let frames = frames.get(clone..).unwrap_or_default();
    let reason = judge(frames, |path, known| {
        let around = || known.and_then(|_| rule_for(path, AROUND));
        rule_for(path, TASK_RULES).or_else(around)
    });
    reason.unwrap_or(WaitReason::Unknown)
}

/// Whether the waker that was registered at this leaf is one that a container of futures made for one of
/// its children; the frames innermost first.
#[must_use]
pub fn is_child(frames: &[&Name]) -> bool {
    clone_of_child(frames) > 0
}

/// How many of the innermost frames clone the waker of a container's child: all that is further in than
/// the code of that waker is a part of it.
fn clone_of_child(frames: &[&Name]) -> usize {
    let is_inside = |frame: &&&Name| frame.polls().is_none() && frame.class() != FrameClass::User;
    let inside = frames.iter().take_while(is_inside);
    let clones = inside
        .zip(1..)
        .filter(|(frame, _)| frame.path.starts_with(CHILD_WAKERS));
    clones.last().map_or(0, |(_, length)| length)
}

/// Whether the function with this path is a part of a container of futures, other than the wakers of its children.
pub fn is_container(path: &str) -> bool {
    rule_for(path, TASK_RULES) == Some(WaitReason::FuturesContainer)
        && !path.starts_with(CHILD_WAKERS)
}

/// What a thread does; the frames innermost first, the state as in `/proc/PID/stat` and the
/// number of the system call that it is in, where these are known.
#[must_use]
pub fn thread_wait(frames: &[&Name], state: Option<char>, syscall: Option<i64>) -> WaitReason {
    let called = syscall.and_then(|syscall| entry(SYSCALLS, syscall));
    let judged = judge(frames, |path, _| match path.contains("::") {
        true => rule_for(path, THREAD_RULES),
        false => c_function(path),
    });
    if state == Some('R') {
        let spins = judged.filter(|judged| *judged == WaitReason::SpinLock);
        return spins.unwrap_or(WaitReason::Running);
    }
    match (called, judged) {
        // A futex is how all of them wait; other calls are what they say, or a library says more.
        (Some(WaitReason::Futex) | None, Some(judged)) => judged,
        (Some(called), Some(judged)) if refines(judged, called) => judged,
        (Some(called), _) => called,
        (None, None) => WaitReason::Unknown,
    }
}

/// The reason that a table has for one of these keys.
fn entry<K: Copy + PartialEq>(table: &[(&[K], WaitReason)], key: K) -> Option<WaitReason> {
    let entry = table.iter().find(|(keys, _)| keys.contains(&key));
    entry.map(|(_, reason)| *reason)
}

/// What a function of the C library waits for.
fn c_function(name: &str) -> Option<WaitReason> {
    // `__GI___libc_read`, `__open64_nocancel`, `___pthread_join`.
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    let name = name.trim_start_matches('_');
    let name = name.strip_prefix("libc_").unwrap_or(name);
    let name = name.strip_suffix("_nocancel").unwrap_or(name);
    entry(C_FUNCTIONS, name.strip_suffix("64").unwrap_or(name))
}

/// Goes outwards from the leaf up to the user's code; a frame further out may say more exactly
/// what a primitive is used for.
fn judge(
    frames: &[&Name],
    rule: impl Fn(&str, Option<WaitReason>) -> Option<WaitReason>,
) -> Option<WaitReason> {
    let mut reason = None;
    for frame in frames {
        let path = frame.path.as_str();
        if let Some(found) = rule(path, reason) {
            if found == WaitReason::FuturesContainer && reason.is_some() {
                // Its children do not wait for what it is a part of.
                break;
            }
            reason = match reason {
                // Most services are ready as soon as they are asked: what is polled in there tells.
                None if found == WaitReason::ServiceReady => None,
                Some(known) if !refines(found, known) => Some(known),
                _ => Some(found),
            };
        } else if path.contains("::") && frame.class() == FrameClass::User {
            // What its caller does is of no account. C functions may stand below a library.
            break;
        }
        if rule_for(path, ENDS).is_some() {
            break;
        }
    }
    reason
}

fn rule_for<T: Copy>(path: &str, rules: &[Rule<T>]) -> Option<T> {
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
    match outer {
        // What a protocol waits for are the bytes of its connection, or a channel to that.
        W::BodyToSend => matches!(
            inner,
            W::BroadcastReceive
                | W::ChannelReceive
                | W::HttpBody
                | W::Interval
                | W::Notify
                | W::Sleep
                | W::WatchChanged
        ),
        W::HangUp => matches!(
            inner,
            W::ChannelClosed | W::ChannelReceive | W::OneshotReceive | W::Read | W::Sleep
        ),
        W::Http2Frame => matches!(inner, W::Read),
        W::HttpBody => matches!(inner, W::ChannelReceive | W::OneshotReceive | W::Read),
        W::GrpcMessage => matches!(inner, W::ChannelReceive | W::HttpBody | W::Read),
        W::HttpResponse => matches!(inner, W::OneshotReceive | W::Request | W::ServiceReady),
        // Some give it no more than a time.
        W::Request => matches!(
            inner,
            W::ChannelReceive | W::Http2Frame | W::IoReadiness | W::Read | W::Sleep
        ),
        W::ResponseBody => matches!(inner, W::BodyToSend),
        W::Shutdown => matches!(
            inner,
            W::ChannelClosed | W::Never | W::Notify | W::Sleep | W::WatchChanged
        ),
        W::WebsocketReceive | W::WebsocketSend => matches!(inner, W::Read | W::Write),
        // The C library asks a name server over a socket of its own, a runtime on another thread.
        W::Resolve => matches!(
            inner,
            W::BlockingTask | W::IoReadiness | W::Join | W::Read | W::Write
        ),
        W::PoolConnection => matches!(
            inner,
            W::Condvar | W::Event | W::Notify | W::OneshotReceive | W::SemaphoreAcquire
        ),
        W::ServiceReady => matches!(
            inner,
            W::ChannelSend | W::Notify | W::SemaphoreAcquire | W::Sleep
        ),
        _ => refines_primitive(outer, inner),
    }
}

/// The same for what is no part of a protocol.
fn refines_primitive(outer: WaitReason, inner: WaitReason) -> bool {
    use WaitReason as W;
    match inner {
        W::Read if matches!(outer, W::FileRead | W::PipeRead) => true,
        W::Write if matches!(outer, W::FileWrite | W::PipeWrite) => true,
        W::FileCall => matches!(
            outer,
            W::FileLock | W::FileOpen | W::FileRead | W::FileSync | W::FileWrite
        ),
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
        // A method that blocks makes a future of its own, and blocks on that.
        W::BlockOn => matches!(
            outer,
            W::BroadcastReceive
                | W::ChannelReceive
                | W::ChannelSend
                | W::MutexLock
                | W::OneshotReceive
                | W::RwLockRead
                | W::RwLockWrite
        ),
        W::Event | W::Condvar | W::Parked | W::Futex => outer != W::Timeout,
        W::WatchChanged => matches!(outer, W::Barrier | W::Signal),
        W::ChannelReceive => matches!(outer, W::Signal),
        W::IoReadiness => matches!(
            outer,
            W::Accept | W::Connect | W::Read | W::Sleep | W::Write
        ),
        W::Write => matches!(outer, W::Connect),
        W::Read => matches!(outer, W::Accept),
        W::Join | W::BlockingTask
            if matches!(
                outer,
                W::FileCall
                    | W::FileOpen
                    | W::FileRead
                    | W::FileSync
                    | W::FileWrite
                    | W::Read
                    | W::Write
            ) =>
        {
            true
        }
        W::Join => matches!(outer, W::BlockingTask),
        W::OneshotReceive => matches!(outer, W::ChannelClosed),
        W::Signal => matches!(outer, W::ProcessExit),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
