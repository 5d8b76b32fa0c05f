//! One conversation with an agent, with a deadline.

use std::{
    io::{self, BufReader, Read, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use interprocess::{
    ConnectWaitMode,
    local_socket::{ConnectOptions, GenericFilePath, ToFsName, traits::Stream as _},
    os::unix::uds_local_socket::Stream,
};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rtops_protocol::{Hello, ProtocolError, Reply, Request};
use rtops_types::Pid;

use crate::{find::discover::Candidate, proc::proc_files};

/// The most bytes to read of one answer.
const MAX_ANSWER: u64 = 1 << 30;
/// How long to wait before the next try when the agent's backlog is full.
const RETRY: Duration = Duration::from_millis(5);
/// The user id that the kernel reports for a socket without a peer.
const NO_USER: u32 = u32::MAX;

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreachable {
    /// Nobody listens, or a process that can't be identified: no agent that we can see.
    Stale,
    /// The user may not connect.
    Forbidden,
    /// The agent does not even accept connections.
    Silent,
}

/// A connection whose other end is known to be process `pid`.
#[derive(Debug)]
pub struct Peer {
    pub pid: Pid,
    stream: Deadlined,
}

/// A connection whose agent has said hello.
#[derive(Debug)]
pub struct Session {
    pub pid: Pid,
    pub hello: Hello,
    stream: BufReader<Deadlined>,
}

impl Peer {
    /// Connects and asks the kernel who listens. The deadline applies to the whole conversation.
    pub fn connect(candidate: &Candidate, deadline: Instant) -> Result<Self, Unreachable> {
        let (stream, pid) = connect(&candidate.path, deadline)?;
        if !owner_fits(candidate.owner, pid) {
            return Err(Unreachable::Stale);
        }
        let stream = Deadlined {
            stream,
            deadline,
            unread: MAX_ANSWER,
        };
        Ok(Self { pid, stream })
    }

    /// Receives the agent's hello.
    pub fn greet(self) -> Result<Session, ProtocolError> {
        let mut stream = BufReader::with_capacity(64 << 10, self.stream);
        let hello = Hello::receive(&mut stream)?;
        Ok(Session {
            pid: self.pid,
            hello,
            stream,
        })
    }
}

impl Session {
    /// Sends the request.
    pub fn ask(&mut self, request: &Request) -> Result<(), ProtocolError> {
        match request.send(self.stream.get_mut()) {
            // An agent that turns a client away says why and hangs up, before or while this is
            // sent; what it said can still be read.
            Err(ProtocolError::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            sent => sent,
        }
    }

    /// Receives the next frame of the answer.
    pub fn next(&mut self) -> Result<Reply, ProtocolError> {
        Reply::receive(&mut self.stream)
    }
}

/// Connects without ever blocking: a plain connect waits for as long as the backlog is full.
fn connect(path: &Path, deadline: Instant) -> Result<(Stream, Pid), Unreachable> {
    loop {
        let name = path
            .to_fs_name::<GenericFilePath>()
            .map_err(|_| Unreachable::Stale)?;
        let stream = ConnectOptions::new()
            .name(name)
            .wait_mode(ConnectWaitMode::Deferred)
            .connect_sync_as::<Stream>()
            .map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => Unreachable::Forbidden,
                _ => Unreachable::Stale,
            })?;
        // A full backlog leaves the socket unconnected, without an error. `peer_creds` of
        // interprocess does not tell that from a peer in a PID namespace that is
        // invisible from here, whose id is 0 as well.
        let peer = getsockopt(&stream, PeerCredentials).map_err(|_| Unreachable::Stale)?;
        if peer.uid() != NO_USER {
            return match peer.pid() {
                pid if pid > 0 => Ok((stream, Pid::new(pid))),
                _ => Err(Unreachable::Stale),
            };
        }
        // No event says when the backlog of a Unix socket has room again.
        if Instant::now() + RETRY > deadline {
            return Err(Unreachable::Silent);
        }
        thread::sleep(RETRY);
    }
}

/// Whether the socket file belongs to the process's user, or to root, as that of a service that
/// drops its privileges after it has started.
fn owner_fits(owner: u32, pid: Pid) -> bool {
    let euid = || {
        Some(
            proc_files::status(&proc_files::process(pid).ok()?)
                .ok()?
                .euid,
        )
    };
    owner == 0 || euid() == Some(owner)
}

/// A stream whose reads and writes share a deadline, and which ends after a number of bytes.
#[derive(Debug)]
struct Deadlined {
    stream: Stream,
    deadline: Instant,
    unread: u64,
}

impl Deadlined {
    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        // A timeout of zero would mean none.
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(remaining.max(Duration::from_millis(1)))
    }
}

impl Read for Deadlined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread == 0 {
            return Err(io::Error::other("the answer does not end"));
        }
        self.stream.set_recv_timeout(Some(self.remaining()?))?;
        let read = self.stream.read(buffer).map_err(timed_out)?;
        self.unread = self.unread.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Write for Deadlined {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_send_timeout(Some(self.remaining()?))?;
        self.stream.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Turns `WouldBlock`, by which a socket reports a timeout, into `TimedOut`.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
