//! The words for things, in one table for text, JSON and profiles.

use rtops_protocol::{ResourceKind, TaskKind};
use rtops_symbols::WaitReason;
use serde::{Serialize, Serializer};

use crate::{escape::escape, group::TaskGroup, task::State};

impl State {
    /// Returns the word for the state.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.words().0
    }

    /// Returns what the word means, if that needs an explanation.
    #[must_use]
    pub const fn meaning(self) -> Option<&'static str> {
        self.words().1
    }

    const fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::New => ("new", Some("not polled yet")),
            Self::Waiting => ("waiting", None),
            Self::HeldBack => ("held back", Some("nobody asks for its next part")),
            Self::Never => (
                "never",
                Some("no waker is registered, so nothing can wake it"),
            ),
            Self::Starved => ("starved", Some("woken, but no thread polls it")),
            Self::Woken => ("woken", Some("about to be polled")),
            Self::Ready => ("ready", Some("nobody has woken it")),
            Self::Submitted => ("submitted", Some("running, or waiting for a thread")),
            Self::Queued => ("queued", Some("waiting for a thread")),
            Self::Running { .. } => ("running", None),
        }
    }

    /// Returns the word and its meaning.
    #[must_use]
    pub fn sentence(self) -> String {
        match self.words() {
            (word, Some(meaning)) => format!("{word}: {meaning}"),
            (word, None) => word.to_owned(),
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Returns the word for a kind of task in JSON and labels.
#[must_use]
pub const fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Task => "task",
        TaskKind::Span => "span",
        TaskKind::Blocking => "blocking",
        TaskKind::BlockOn => "block_on",
    }
}

/// Returns what a task of this kind is called in a sentence.
#[must_use]
pub const fn noun(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Task => "task",
        TaskKind::Span => "span",
        TaskKind::Blocking => "blocking task",
        TaskKind::BlockOn => "block_on future",
    }
}

/// Returns what the tasks of a group are called: their name in quotes, or the type of their future.
#[must_use]
pub fn called(group: &TaskGroup) -> String {
    let look = &group.look;
    let future = look.future_type.as_deref();
    let title = match (look.name, group.last_name) {
        (Some(name), Some(last)) => return quoted(&format!("{name} … {last}")),
        (name, _) => title(name, future, look.is_tracked),
    };
    // One function may contain several async blocks.
    match &look.code {
        Some(code) if look.name.is_none() && title.ends_with("{async block}") => {
            format!("{title}:{}", code.line)
        }
        _ => title,
    }
}

/// Returns what a group is called from its name and the type of its future.
#[must_use]
pub fn title(name: Option<&str>, future_type: Option<&str>, is_tracked: bool) -> String {
    match (name, future_type) {
        (Some(name), _) => quoted(name),
        (None, Some(future)) if is_tracked => {
            escape(&rtops_symbols::display_name(future)).into_owned()
        }
        (None, Some(future)) => escape(&rtops_symbols::display_type(future)).into_owned(),
        (None, None) => "without a name".to_owned(),
    }
}

/// Returns a name in quotes.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", escape(name))
}

/// Returns the word for a thread's state, a letter from `/proc/PID/stat`.
#[must_use]
pub const fn thread_state(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "uninterruptible",
        'T' => "stopped",
        't' => "traced",
        'Z' | 'X' | 'x' => "ended",
        'I' => "idle",
        _ => "in an unknown state",
    }
}

/// Returns what a thread with this wait reason does, as a sentence's predicate; `None` if it runs.
#[must_use]
pub const fn blocked(wait: WaitReason) -> Option<&'static str> {
    use WaitReason as W;
    Some(match wait {
        W::Barrier => "waits at a barrier",
        W::BlockOn => "in block_on",
        W::ChannelReceive | W::BroadcastReceive | W::OneshotReceive => {
            "waits for a message of a channel"
        }
        W::ChannelSend => "waits for room in a channel",
        W::Condvar => "waits for a condition variable",
        W::Connect => "waits for a connection to be made",
        W::Accept => "waits for a connection to come in",
        W::EpollWait | W::IoReadiness => "waits for I/O",
        W::FileCall => "waits for the file system",
        W::FileLock => "waits for the lock of a file",
        W::FileOpen => "waits for a file to open",
        W::FileRead => "reads a file",
        W::FileSync => "waits for a file to be on the disk",
        W::FileWrite => "writes a file",
        W::Join => "waits for a thread to end",
        W::MutexLock | W::RwLock | W::RwLockRead | W::RwLockWrite => "waits for a lock",
        W::OnceCell => "waits for a value that another thread makes",
        W::Parked => "parked",
        W::PipeRead => "reads a pipe",
        W::PipeWrite => "writes to a pipe",
        W::ProcessExit => "waits for a process to end",
        W::Read => "waits for bytes to read",
        W::Resolve => "looks up a host name",
        W::SemaphoreAcquire => "waits for a permit",
        W::Signal => "waits for a signal",
        W::Sleep => "sleeps",
        W::SpinLock => "spins on a lock",
        W::Write => "waits for bytes to be taken",
        _ => return None,
    })
}

/// Returns the word for a kind of lock.
#[must_use]
pub const fn resource(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Mutex => "mutex",
        ResourceKind::RwLock => "rwlock",
        ResourceKind::Semaphore => "semaphore",
        ResourceKind::JoinSet => "join set",
    }
}

pub(crate) fn serialize_kind<S: Serializer>(
    of: &TaskKind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind(*of))
}

pub(crate) fn serialize_wait<S: Serializer>(
    wait: &Option<WaitReason>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    wait.map(WaitReason::as_str).serialize(serializer)
}
