//! Decides what a stack waits for, by one table for tasks and one for threads.

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
            /// Returns its name, as in text and JSON.
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
    /// An incoming connection.
    Accept => "I/O accept",
    /// The other parties of a barrier.
    Barrier => "barrier",
    /// A future that a thread polls itself, parking in between.
    BlockOn => "block_on",
    /// The reader of an incoming body to ask for more.
    BodyReader => "body reader",
    /// More of an outgoing body, from its producer.
    BodyToSend => "body to send",
    /// A closure on a thread for blocking work.
    BlockingTask => "blocking task",
    /// The next message of a broadcast channel.
    BroadcastReceive => "broadcast receive",
    /// A cancellation.
    Cancellation => "cancellation",
    /// A message.
    ChannelReceive => "channel receive",
    /// Room in a channel.
    ChannelSend => "channel send",
    /// The other side of a channel to be dropped.
    ChannelClosed => "channel closed",
    /// A condition variable.
    Condvar => "condvar wait",
    /// A connection to be established.
    Connect => "I/O connect",
    /// The next poll, as the budget of this one is used up.
    CoopBudget => "yield (budget)",
    /// I/O events, in the thread that drives them.
    EpollWait => "epoll wait",
    /// An event that another task sends.
    Event => "event",
    /// A futex, for an unknown purpose.
    Futex => "futex wait",
    /// An answer from the file system, for example to a query of a file's state.
    FileCall => "file call",
    /// The lock of a file, which another process may hold.
    FileLock => "file lock",
    /// A file to be opened, or the other end of a named pipe.
    FileOpen => "file open",
    /// Data from a file.
    FileRead => "file read",
    /// Data written to a file to reach the disk.
    FileSync => "file sync",
    /// Data to be written to a file.
    FileWrite => "file write",
    /// Futures in a container, none of which is visible.
    FuturesContainer => "futures container",
    /// A message of a gRPC stream.
    GrpcMessage => "gRPC message",
    /// The other side to give up, while something else is done for it.
    HangUp => "hang-up",
    /// Part of the body of a request or response.
    HttpBody => "HTTP body",
    /// A response.
    HttpResponse => "HTTP response",
    /// A frame on a connection that many requests share.
    Http2Frame => "HTTP/2 frame",
    /// Permission from the other side to send more.
    Http2Window => "HTTP/2 window",
    /// The next tick.
    Interval => "interval",
    /// Readiness, in an unknown direction.
    IoReadiness => "I/O readiness",
    /// Bytes or a datagram.
    Read => "I/O read",
    /// Bytes to be written.
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
    /// Bytes from a pipe, such as the output of a child process.
    PipeRead => "pipe read",
    /// Bytes to be written to a pipe, such as the input of a child process.
    PipeWrite => "pipe write",
    /// A connection from a pool.
    PoolConnection => "pool connection",
    /// A process to end.
    ProcessExit => "process exit",
    /// The next request on an open connection, or the rest of its head.
    Request => "next request",
    /// More of the body of a server's response, from its producer.
    ResponseBody => "response body",
    /// The addresses of a host.
    Resolve => "DNS lookup",
    /// Nothing: it runs.
    Running => "running",
    /// A read-write lock, in an unknown direction.
    RwLock => "rwlock",
    /// A read-write lock for reading.
    RwLockRead => "rwlock read",
    /// A read-write lock for writing.
    RwLockWrite => "rwlock write",
    /// A permit.
    SemaphoreAcquire => "semaphore acquire",
    /// A service to accept one more request.
    ServiceReady => "service ready",
    /// The shutdown of a server.
    Shutdown => "shutdown",
    /// A signal to the process.
    Signal => "signal",
    /// A lock that is checked over and over again.
    SpinLock => "spin lock",
    /// Time to pass.
    Sleep => "sleep",
    /// The end of a timeout around something else.
    Timeout => "timeout",
    /// A change of a watched value.
    WatchChanged => "watch changed",
    /// A message from a websocket.
    WebsocketReceive => "websocket receive",
    /// A message to be sent to a websocket.
    WebsocketSend => "websocket send",
    /// Its next turn.
    Yield => "yield",
    /// Something that no rule knows.
    Unknown => "unknown",
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a wait ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaitEnd {
    /// Without anybody acting: time passes, or it is about to run.
    Timed,
    /// With the next event for an idle service, whenever that comes.
    Idle,
    /// When somebody in the process releases something, catches up
    /// or arrives, which is normally soon.
    Contended,
    /// When somebody acts, sooner or later.
    Open,
}

impl WaitReason {
    /// Returns the names of several reasons, joined.
    #[must_use]
    pub fn words(waits: &[Self]) -> String {
        let words: Vec<&str> = waits.iter().map(|wait| wait.as_str()).collect();
        words.join(" + ")
    }

    /// Returns how waiting for it ends.
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
    /// Whether a connection waits for this in addition to its main purpose. `serves` says
    /// whether it serves a request; otherwise it waits for one.
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

/// Returns what a server does for a request in the part of a task that waits at this leaf,
/// if anything. Frames are innermost first.
#[must_use]
pub fn serving(frames: &[&Name]) -> Option<Serving> {
    let mut paths = frames.iter().map(|frame| frame.path.as_str());
    let serving = paths.find_map(|path| rule_for(path, SERVING))?;
    // Clients send in the same way.
    (!paths.any(|path| path.starts_with("hyper::client::"))).then_some(serving)
}

/// The wakers that containers of futures make for their children.
const CHILD_WAKERS: &str = "futures_util::stream::futures_unordered::task::";

/// Returns what a suspended task waits for at this leaf. Frames are innermost first.
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

/// Whether the waker registered at this leaf is one that a container of futures made for
/// one of its children. Frames are innermost first.
#[must_use]
pub fn is_child(frames: &[&Name]) -> bool {
    clone_of_child(frames) > 0
}

/// Returns how many of the innermost frames clone the waker of a container's child:
/// everything further in than that waker's code is part of the clone.
fn clone_of_child(frames: &[&Name]) -> usize {
    let is_inside = |frame: &&&Name| frame.polls().is_none() && frame.class() != FrameClass::User;
    let inside = frames.iter().take_while(is_inside);
    let clones = inside
        .zip(1..)
        .filter(|(frame, _)| frame.path.starts_with(CHILD_WAKERS));
    clones.last().map_or(0, |(_, length)| length)
}

/// Whether the function with this path is part of a container
/// of futures, other than the wakers of its children.
pub fn is_container(path: &str) -> bool {
    rule_for(path, TASK_RULES) == Some(WaitReason::FuturesContainer)
        && !path.starts_with(CHILD_WAKERS)
}

/// Returns what a thread does. Frames are innermost first; the state is that in `/proc/PID/stat`,
/// and `syscall` is the number of the system call that it is in, if these are known.
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
        // All of them wait by futex. Other calls mean what they say, unless a library says more.
        (Some(WaitReason::Futex) | None, Some(judged)) => judged,
        (Some(called), Some(judged)) if refines(judged, called) => judged,
        (Some(called), _) => called,
        (None, None) => WaitReason::Unknown,
    }
}

/// Returns the reason that a table has for this key.
fn entry<K: Copy + PartialEq>(table: &[(&[K], WaitReason)], key: K) -> Option<WaitReason> {
    let entry = table.iter().find(|(keys, _)| keys.contains(&key));
    entry.map(|(_, reason)| *reason)
}

/// Returns what a function of the C library waits for.
fn c_function(name: &str) -> Option<WaitReason> {
    // `__GI___libc_read`, `__open64_nocancel`, `___pthread_join`.
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    let name = name.trim_start_matches('_');
    let name = name.strip_prefix("libc_").unwrap_or(name);
    let name = name.strip_suffix("_nocancel").unwrap_or(name);
    entry(C_FUNCTIONS, name.strip_suffix("64").unwrap_or(name))
}

/// Goes outwards from the leaf to the user's code. A frame further out may say more exactly
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
                // The container's children do not wait for what it is part of.
                break;
            }
            reason = match reason {
                // Most services are ready as soon as they are asked, so what
                // is polled inside counts.
                None if found == WaitReason::ServiceReady => None,
                Some(known) if !refines(found, known) => Some(known),
                _ => Some(found),
            };
        } else if path.contains("::") && frame.class() == FrameClass::User {
            // What the caller does does not matter. C functions may be called by a library.
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
        // A protocol waits for the bytes of its connection, or for a channel to it.
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
        // Some only give it a time limit.
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
        // The C library asks a name server over its own socket, a runtime asks on another thread.
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

/// Whether a finding that is no part of a protocol says more than the one inside it.
fn refines_primitive(outer: WaitReason, inner: WaitReason) -> bool {
    use WaitReason as W;
    match inner {
        W::Read if matches!(outer, W::FileRead | W::PipeRead) => true,
        W::Write if matches!(outer, W::FileWrite | W::PipeWrite) => true,
        W::FileCall => matches!(
            outer,
            W::FileLock | W::FileOpen | W::FileRead | W::FileSync | W::FileWrite
        ),
        // This is how a pidfd, a signal pipe or a timer's registration is awaited.
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
        // A blocking method makes its own future, and blocks on that.
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
