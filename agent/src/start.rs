//! Starting and stopping.

use std::{
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use nix::{
    sys::eventfd::{EfdFlags, EventFd},
    unistd::geteuid,
};
use rtops_protocol::{SocketFile, socket_directory};
use rtops_threads::InstallError;

use crate::{
    config::{Capability, Options, StartError, is_disabled},
    exchange::Identity,
    fork::{self, Noted, note},
    listener::{Audience, Listener},
    runtimes,
    serve::Server,
};

static AGENT: Mutex<Option<Agent>> = Mutex::new(None);

/// The agent of this process, as seen from outside its thread.
struct Agent {
    stop: Arc<EventFd>,
    #[cfg(feature = "profile")]
    identity: Arc<Identity>,
    _noted: Noted,
    thread: JoinHandle<()>,
}

/// Starts the agent with [`Options::new`]: one line in `main`, inside or outside of a runtime.
///
/// With `RTOPS_DISABLE=1` in the environment it does nothing, successfully.
///
/// # Errors
/// When there is an agent already, or its socket can't be made. The service can go on without.
pub fn start() -> Result<(), StartError> {
    Options::new().start()
}

/// Stops the agent and removes its socket. Does nothing where there is no agent.
///
/// Conversations under way are not broken off. [`start`] may be called again.
pub fn stop() {
    // A forked child shares the event counter with its parent, whose agent this would stop.
    if fork::is_forked_child() {
        return;
    }
    let Some(agent) = agent().take() else {
        return;
    };
    match agent.stop.write(1) {
        Ok(_) => {
            // A panic of the agent's thread has been reported by the panic hook.
            drop(agent.thread.join());
        }
        Err(error) => tracing::warn!(%error, "the rtops agent could not be told to stop"),
    }
}

impl Options {
    /// Starts the agent.
    ///
    /// With `RTOPS_DISABLE=1` in the environment it does nothing, successfully.
    ///
    /// # Errors
    /// When there is an agent already, its socket can't be made, or the signal can't be used. The
    /// service can go on without.
    pub fn start(self) -> Result<(), StartError> {
        if is_disabled() {
            return Ok(());
        }
        if fork::is_forked_child() {
            return Err(StartError::ForkedChild);
        }
        let mut agent = agent();
        if agent.is_some() {
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
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)
            .map(Arc::new)
            .map_err(StartError::system("make an event counter"))?;
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
            stop: Arc::clone(&stop),
        };
        fork::watch();
        let noted = note(&*stop);
        let thread = thread::Builder::new()
            .name("rtops-agent".to_owned())
            .spawn(|| server.run())
            .map_err(StartError::system("start its thread"))?;
        Ok(Agent {
            stop,
            #[cfg(feature = "profile")]
            identity,
            _noted: noted,
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

/// What the agent of this process is, while there is one.
#[cfg(feature = "profile")]
pub(crate) fn identity() -> Option<Arc<Identity>> {
    let agent = agent();
    agent.as_ref().map(|agent| Arc::clone(&agent.identity))
}

fn agent() -> MutexGuard<'static, Option<Agent>> {
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The start of this process, in clock ticks after boot.
fn start_time() -> io::Result<u64> {
    const FIELD: usize = 22;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the name in brackets, which may hold anything, brackets too.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields
        .split_ascii_whitespace()
        .nth(FIELD - 3)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/stat has no start time"))
}
