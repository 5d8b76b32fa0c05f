//! The agent's thread: waits for clients, gives each a thread of its own, and keeps the
//! socket in place.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::SigSet,
        socket::{MsgFlags, getsockopt, recv, sockopt::PeerCredentials},
    },
    unistd::{Uid, geteuid, gettid},
};
use rtops_capture::OwnThread;
use rtops_protocol::{CLIENT_THREAD, Refusal, SocketFile};

use crate::{
    descriptor::{Kept, Lost},
    exchange::{self, Identity},
    listener::{Listener, Stream},
};

/// The maximum number of clients at once. Another one is told to come back.
const MAX_CLIENTS: usize = 8;
/// How long to wait after a failure that would otherwise repeat at once.
const PAUSE: Duration = Duration::from_millis(200);
/// The stack size of a client's thread: unwinding and encoding need little, and it is
/// freed afterwards.
const CLIENT_STACK: usize = 512 << 10;

/// The threads of the agent.
static OWN_THREADS: Mutex<Vec<(i32, OwnThread)>> = Mutex::new(Vec::new());

/// The state of the agent's thread.
pub(crate) struct Server {
    pub(crate) identity: Arc<Identity>,
    pub(crate) listener: Listener,
    pub(crate) file: SocketFile,
    /// Readable when the agent has to stop, and when the service has closed the other end.
    pub(crate) stop: Kept<UnixStream>,
}

impl Server {
    /// Runs until `stop` is readable or a descriptor is lost, then removes the socket.
    pub(crate) fn run(mut self) {
        let _own = Entered::enter(OwnThread::Listener);
        loop {
            match self.wait() {
                Ok(Event::Stop) => break,
                Ok(Event::Client) => self.accept(),
                Ok(Event::Directory) => self.keep_in_place(),
                Err(WaitError::Lost(Lost)) => {
                    tracing::warn!("the rtops agent ends: the service has closed its descriptors");
                    self.turn_all_away();
                    // Whoever closes one descriptor is about to close the others, so this is not
                    // the moment to check a number and then close it.
                    thread::sleep(PAUSE);
                    break;
                }
                Err(WaitError::System(error)) => {
                    tracing::warn!(%error, "the rtops agent can't wait for clients");
                    thread::sleep(PAUSE);
                }
            }
        }
        self.listener.remove();
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> Result<Event, WaitError> {
        let [connections, changes] = self.listener.sources()?;
        let mut sources = [self.stop.get()?.as_fd(), changes, connections]
            .map(|source| PollFd::new(source, PollFlags::POLLIN));
        loop {
            match poll(&mut sources, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [stop, changes, _] = sources.map(|source| source.any().unwrap_or(true));
        // `poll` goes on with the files that the numbers stood for when it began.
        self.listener.sources()?;
        let stopped = self.stop.get()?;
        Ok(match (stop, changes) {
            (true, _) => {
                let told = recv(stopped.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT)?;
                if told == 0 {
                    return Err(Lost.into());
                }
                Event::Stop
            }
            (_, true) => Event::Directory,
            _ => Event::Client,
        })
    }

    fn accept(&self) {
        match self.listener.accept() {
            Ok(stream) => self.admit(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Most likely out of descriptors: the connection stays in the queue.
                tracing::debug!(%error, "the rtops agent can't accept a client");
                thread::sleep(PAUSE);
            }
        }
    }

    fn admit(&self, stream: Kept<Stream>) {
        if let Err(user) = self.check(&stream) {
            log_refusal(user);
            let message = "only the user of the process and root may ask this agent";
            exchange::turn_away(&stream, &self.identity, Refusal::Permission, message);
            return;
        }
        let Some(place) = Place::take() else {
            let message = format!("the agent is serving {MAX_CLIENTS} clients already");
            exchange::turn_away(&stream, &self.identity, Refusal::Busy, &message);
            return;
        };
        let identity = Arc::clone(&self.identity);
        let started = thread::Builder::new()
            .name(CLIENT_THREAD.to_owned())
            .stack_size(CLIENT_STACK)
            .spawn(move || {
                let _place = place;
                let _own = Entered::enter(OwnThread::Client);
                if let Err(error) = exchange::serve(&stream, &identity) {
                    tracing::debug!(%error, "a conversation with rtops ended early");
                }
            });
        if let Err(error) = started {
            tracing::debug!(%error, "no thread for an rtops client");
        }
    }

    /// Tells waiting clients that the agent ends, if they can still be reached.
    fn turn_all_away(&self) {
        let message = "it ends, as the service has closed its descriptors";
        let waiting = std::iter::from_fn(|| self.listener.accept().ok());
        for stream in waiting.take(MAX_CLIENTS) {
            exchange::turn_away(&stream, &self.identity, Refusal::Failed, message);
        }
    }

    fn check(&self, stream: &Kept<Stream>) -> Result<(), Option<Uid>> {
        // Not interprocess's `peer_creds`: it takes the pid 0 of a client outside this process's
        // PID namespace, such as one on the host of a container, for an error.
        let stream = stream.get().map_err(|Lost| None)?;
        let peer = getsockopt(stream, PeerCredentials).map_err(|_| None)?;
        let user = Uid::from_raw(peer.uid());
        let may = user.is_root() || user == geteuid();
        if may || self.identity.options.allowed.contains(&user) {
            Ok(())
        } else {
            Err(Some(user))
        }
    }

    /// Creates the socket again if somebody removed it, such as a cleaner of old files in /tmp.
    fn keep_in_place(&mut self) {
        if self.listener.is_in_place() {
            return;
        }
        // Whoever removes files in a loop must not make this thread loop too.
        thread::sleep(PAUSE);
        match self.listener.rebind(self.file) {
            Ok(listener) => std::mem::replace(&mut self.listener, listener).remove(),
            Err(error) => tracing::warn!(%error, "the rtops socket was removed and can't be made"),
        }
    }
}

/// Why the wait failed.
#[derive(Debug, thiserror::Error)]
enum WaitError {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    System(#[from] Errno),
}

enum Event {
    Stop,
    Client,
    Directory,
}

fn log_refusal(user: Option<Uid>) {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    if !LOGGED.swap(true, Relaxed) {
        let user = user.map(Uid::as_raw);
        tracing::warn!(
            user,
            "the rtops agent turned a user away; later ones are not logged"
        );
    }
}

/// One of the places for clients, which is free again when dropped.
struct Place;

static CLIENTS: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Option<Self> {
        if CLIENTS.fetch_add(1, AcqRel) < MAX_CLIENTS {
            return Some(Self);
        }
        CLIENTS.fetch_sub(1, AcqRel);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        CLIENTS.fetch_sub(1, AcqRel);
    }
}

/// Returns what a thread is for, if it is one of the agent's.
pub(crate) fn own_thread(tid: i32) -> Option<OwnThread> {
    let threads = own_threads();
    let own = threads.iter().find(|(own, _)| *own == tid);
    own.map(|(_, role)| *role)
}

fn own_threads() -> MutexGuard<'static, Vec<(i32, OwnThread)>> {
    OWN_THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks this thread as one of the agent's until it is dropped.
pub(crate) struct Entered(i32);

impl Entered {
    /// Also blocks all signals. The service's handlers do not expect to run here, and a client that
    /// closes its socket too early must not end the service with SIGPIPE.
    pub(crate) fn enter(role: OwnThread) -> Self {
        if let Err(error) = SigSet::all().thread_block() {
            tracing::debug!(%error, "signals stay unblocked in a thread of the rtops agent");
        }
        let tid = gettid().as_raw();
        own_threads().push((tid, role));
        Self(tid)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        own_threads().retain(|(tid, _)| *tid != self.0);
    }
}
