//! Starting and stopping the agent.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use nix::{
    sys::socket::{MsgFlags, send},
    unistd::geteuid,
};
use rtops_protocol::{SocketFile, socket_directory};
use rtops_threads::InstallError;

use crate::{
    config::{Capability, Options, StartError, is_disabled},
    descriptor::Kept,
    exchange::Identity,
    fork,
    listener::{Audience, Listener},
    runtimes,
    serve::Server,
};

static AGENT: Mutex<Option<Agent>> = Mutex::new(None);

/// The agent of this process, as seen from outside its thread.
struct Agent {
    /// The agent's thread holds the other end.
    stop: Kept<UnixStream>,
    #[cfg(feature = "profile")]
    identity: Arc<Identity>,
    thread: JoinHandle<()>,
}

/// Starts the agent with [`Options::new`]: one line in `main`, inside or outside of a runtime.
///
/// Does nothing and returns `Ok` if `RTOPS_DISABLE=1` is in the environment.
///
/// # Errors
/// If there already is an agent, or its socket can't be created. The service can go on without it.
/// An agent that has ended because the service closed its descriptors does not count.
pub fn start() -> Result<(), StartError> {
    Options::new().start()
}

/// Stops the agent and removes its socket. Does nothing if there is no agent.
///
/// Conversations under way are not interrupted. [`start`] may be called again.
pub fn stop() {
    // A forked child has its parent's state, but none of its threads.
    if fork::is_forked_child() {
        return;
    }
    let Some(agent) = agent().take() else {
        return;
    };
    // If the service has closed this end, the thread ends without being told.
    let Ok(stop) = agent.stop.get() else {
        return;
    };
    // Not a write, which could raise SIGPIPE in the service.
    if let Err(error) = send(stop.as_raw_fd(), &[0], MsgFlags::MSG_NOSIGNAL) {
        tracing::debug!(%error, "the rtops agent has ended before");
    }
    // The panic hook has already reported a panic of the agent's thread.
    drop(agent.thread.join());
}

impl Options {
    /// Starts the agent.
    ///
    /// Does nothing and returns `Ok` if `RTOPS_DISABLE=1` is in the environment.
    ///
    /// # Errors
    /// If there already is an agent, its socket can't be created, or the signal can't be used. The
    /// service can go on without it.
    pub fn start(self) -> Result<(), StartError> {
        if is_disabled() {
            return Ok(());
        }
        if fork::is_forked_child() {
            return Err(StartError::ForkedChild);
        }
        let mut agent = agent();
        // An agent that lost its descriptors has already ended.
        if agent
            .as_ref()
            .is_some_and(|agent| !agent.thread.is_finished())
        {
            return Err(StartError::AlreadyStarted);
        }
        *agent = Some(self.launch()?);
        drop(agent);
        runtimes::notice_start();
        Ok(())
    }

    fn launch(self) -> Result<Agent, StartError> {
        let file = SocketFile {
            pid: std::process::id(),
            start_time: start_time().map_err(StartError::system("read its start time"))?,
        };
        let directory = self
            .directory
            .clone()
            .unwrap_or_else(|| socket_directory(geteuid()));
        let audience = if self.allowed.is_empty() {
            Audience::Own
        } else {
            Audience::Others
        };
        let capturer = self.capturer()?;
        // Not an event counter: it has no inode that tells it from one of the service's.
        let pair =
            UnixStream::pair().and_then(|(ours, its)| Ok((Kept::new(ours)?, Kept::new(its)?)));
        let (stop, stopped) = pair.map_err(StartError::system("make a pair of sockets"))?;
        let listener = Listener::bind(&directory, file, audience)?;
        let identity = Arc::new(Identity {
            name: self.process_name(),
            pid: file.pid,
            start_time: file.start_time,
            options: self,
            capturer,
        });
        let server = Server {
            listener,
            identity: Arc::clone(&identity),
            file,
            stop: stopped,
        };
        fork::watch();
        // The offset counts only if two threads agree on it. The second one is a client's.
        let _alone = rtops_tasks::polled_at();
        let thread = thread::Builder::new()
            .name("rtops-agent".to_owned())
            .spawn(|| server.run())
            .map_err(StartError::system("start its thread"))?;
        Ok(Agent {
            stop,
            #[cfg(feature = "profile")]
            identity,
            thread,
        })
    }

    fn capturer(&self) -> Result<Option<rtops_threads::Capturer>, StartError> {
        if !self.has(Capability::Threads) {
            return Ok(None);
        }
        match rtops_threads::install(self.signal) {
            Ok(capturer) => Ok(Some(capturer)),
            Err(InstallError::Unsupported) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns what the agent of this process is, while there is one.
#[cfg(feature = "profile")]
pub(crate) fn identity() -> Option<Arc<Identity>> {
    let agent = agent();
    agent.as_ref().map(|agent| Arc::clone(&agent.identity))
}

fn agent() -> MutexGuard<'static, Option<Agent>> {
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the start time of this process, in clock ticks after boot.
fn start_time() -> io::Result<u64> {
    const FIELD: usize = 22;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the name in parentheses, which may itself contain parentheses.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields
        .split_ascii_whitespace()
        .nth(FIELD - 3)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/stat has no start time"))
}
