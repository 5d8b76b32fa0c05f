//! How an agent is set up, and why it may not start.

use std::{env, ffi::OsString, io, path::PathBuf};

use nix::unistd::Uid;
use rtops_protocol::{Fact, Package};
use rtops_threads::Signal;

/// The maximum number of facts that a service can state, and the maximum length of their texts in
/// bytes.
const MAX_FACTS: usize = 64;
const MAX_TEXT: usize = 1000;

/// Something that the agent can be asked for, and that the service's author can switch off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Capability {
    /// Counts of tasks, polls and runtimes.
    Stats,
    /// Tracked tasks and where each one waits.
    Tasks,
    /// The stacks of the OS threads, for which a signal handler is installed.
    Threads,
    /// Letting clients that may ask the agent trace the process from outside, which is how
    /// untracked tasks are found. Without this, the kernel may allow tracing only to the process's
    /// ancestors. The section on security in the documentation explains the consequences.
    Attach,
    /// What the allocator reports about its heap, which takes its locks, and what
    /// [`Counting`](crate::alloc::Counting) counts.
    Memory,
    /// Returning memory that the allocator keeps for later to the system. This is the
    /// only capability that changes the process. Threads that allocate meanwhile may have
    /// to wait for some time.
    Trim,
}

/// How the agent runs. [`Options::start`] starts it.
///
/// ```no_run
/// use rtops_agent::{Capability, Options};
///
/// Options::new()
///     .name("gateway")
///     .disable(Capability::Threads)
///     .start()
///     .expect("the agent starts once");
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing runs before start()"]
pub struct Options {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) signal: Signal,
    pub(crate) allowed: Vec<Uid>,
    pub(crate) disabled: Vec<Capability>,
    pub(crate) package: Option<Package>,
    pub(crate) facts: Vec<Fact>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Returns the defaults: everything on, for the process's own user and root.
    pub const fn new() -> Self {
        Self {
            directory: None,
            name: None,
            signal: Signal::URGENT,
            allowed: Vec::new(),
            disabled: Vec::new(),
            package: None,
            facts: Vec::new(),
        }
    }

    /// Sets the directory for the socket, instead of `$RTOPS_DIR` or `/tmp/rtops-<euid>`. It must
    /// belong to the process's user and be writable by nobody else. It is created if it is missing.
    /// `rtops` looks there only if its own `RTOPS_DIR` says so.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the name of the process, instead of that of its executable.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the service's package, for `rtops version`. The executable does not contain
    /// the version:
    ///
    /// ```no_run
    /// # fn main() -> Result<(), rtops_agent::StartError> {
    /// rtops_agent::Options::new()
    ///     .package(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    ///     .fact("features", if cfg!(feature = "tls") { "tls" } else { "none" })
    ///     .start()
    /// # }
    /// ```
    pub fn package(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.package = Some(Package {
            name: cut(name),
            version: cut(version),
        });
        self
    }

    /// Adds another fact for `rtops version` that only the service knows, such as the commit
    /// that it was built from or the features that are on. At most 64 facts are kept, and
    /// 1,000 bytes of each text.
    pub fn fact(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        if self.facts.len() < MAX_FACTS {
            self.facts.push(Fact {
                key: cut(key),
                value: cut(value),
            });
        }
        self
    }

    /// Sets the signal that makes a thread copy its stack, instead of SIGURG. Pick one that the
    /// process does not use.
    pub const fn signal(mut self, signal: Signal) -> Self {
        self.signal = signal;
        self
    }

    /// Lets another user ask, besides the process's own and root. This makes the directory readable
    /// and the socket connectable for all users; the agent turns away those that are not allowed.
    pub fn allow_uid(mut self, uid: u32) -> Self {
        self.allowed.push(Uid::from_raw(uid));
        self
    }

    /// Switches a capability off. A client that asks for it is told so.
    pub fn disable(mut self, capability: Capability) -> Self {
        self.disabled.push(capability);
        self
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        !self.disabled.contains(&capability)
    }

    /// Returns the given name, or else that of the executable.
    pub(crate) fn process_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            env::current_exe()
                .ok()
                .and_then(|path| path.file_name().map(OsString::from))
                .map_or_else(
                    || "unnamed".to_owned(),
                    // The kernel appends this to the path of an executable that has been replaced.
                    |name| {
                        let name = name.to_string_lossy();
                        name.trim_end_matches(" (deleted)").to_owned()
                    },
                )
        })
    }
}

/// Cuts a text, so that all facts together fit in one frame.
fn cut(text: impl Into<String>) -> String {
    rtops_protocol::cut(&text.into(), MAX_TEXT).to_owned()
}

/// Whether `RTOPS_DISABLE` switches the agent off.
pub(crate) fn is_disabled() -> bool {
    env::var_os("RTOPS_DISABLE").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Why the agent did not start. The service can go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no agent for this platform.
    #[error("the rtops agent runs on Linux only: on this platform nobody can ask for the tasks")]
    Unsupported,
    /// This process already has an agent.
    #[error("the rtops agent runs in this process already: start it once, or stop() it before")]
    AlreadyStarted,
    /// This process is the child of a fork whose parent had an agent.
    #[error("no rtops agent can start in a forked child of a process that had one: exec first")]
    ForkedChild,
    /// The agent can't trust the directory.
    #[error("{path} can't hold the rtops socket: {reason}; remove it, or set RTOPS_DIR")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The socket could not be created.
    #[error("the rtops socket {path} can't be made: {source}; set RTOPS_DIR to another directory")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// The handler for thread stacks can't be installed.
    #[error("{0}; choose another one with Options::signal, or disable Capability::Threads")]
    Signal(#[from] rtops_threads::InstallError),
    /// The system refused something that the agent needs.
    #[error("the rtops agent could not {what}: {source}")]
    System {
        /// What the agent tried to do.
        what: &'static str,
        /// The error from the system.
        source: io::Error,
    },
}

impl StartError {
    /// Makes a closure for `map_err`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
