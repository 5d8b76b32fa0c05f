//! The sockets of a process: its descriptors, matched with the tables of its network namespace.

use std::{collections::HashMap, net::SocketAddr};

use procfs::{
    ProcError, ProcResult,
    net::{TcpNetEntries, TcpNetEntry, TcpState, UdpNetEntries, UdpNetEntry, UdpState},
    process::{FDTarget, Process},
};

use super::{proc_files::table, unix_sockets};

/// All sockets of a process.
#[derive(Debug, Default)]
pub struct Sockets {
    pub list: Vec<Socket>,
    /// How many are in none of the tables: not bound yet, of another kind, such as netlink, or of
    /// another network namespace than the process is in now.
    pub others: usize,
}

/// A socket, which may have several descriptors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Socket {
    pub fds: Vec<i32>,
    pub protocol: Protocol,
    /// As `ss` and `netstat` call it, in lower case.
    pub state: &'static str,
    pub local: Option<Address>,
    pub remote: Option<Address>,
    /// Bytes waiting to be read and to be sent; for a TCP listener, connections waiting to
    /// be accepted. Unknown for Unix sockets.
    pub queues: Option<Queues>,
}

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    UnixStream,
    UnixDatagram,
    UnixPackets,
}

/// One end of a socket.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    Internet(SocketAddr),
    /// The path of a Unix socket; `@` stands for each zero byte in an abstract name.
    Path(String),
}

/// Fill levels, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queues {
    pub receive: u32,
    pub send: u32,
}

/// The state of a socket that waits for connections.
pub const LISTEN: &str = "listen";

impl Protocol {
    /// Returns its name, which for the Internet protocols is that of the table in `/proc`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
            Self::UnixStream => "unix",
            Self::UnixDatagram => "unix datagram",
            Self::UnixPackets => "unix seqpacket",
        }
    }
}

/// Returns the sockets of a process, ordered by protocol, state and address.
///
/// # Errors
/// If its descriptors or the tables can't be read: the list would not be complete.
pub fn of(process: &Process) -> ProcResult<Sockets> {
    let mut fds: HashMap<u64, Vec<i32>> = HashMap::new();
    for fd in process.fd()? {
        match fd {
            Ok(fd) => {
                if let FDTarget::Socket(inode) = fd.target {
                    fds.entry(inode).or_default().push(fd.fd);
                }
            }
            Err(error @ ProcError::PermissionDenied(_)) => return Err(error),
            // It was closed meanwhile.
            Err(_) => {}
        }
    }
    let mut sockets = Sockets::default();
    if fds.is_empty() {
        return Ok(sockets);
    }
    let tcp = |name| table::<TcpNetEntries>(process, name).map(|table| table.0);
    let udp = |name| table::<UdpNetEntries>(process, name).map(|table| table.0);
    let (tcp, tcp6) = (tcp("tcp")?, where_supported(tcp("tcp6"))?);
    let (udp, udp6) = (udp("udp")?, where_supported(udp("udp6"))?);
    let found = [(Protocol::Tcp, tcp), (Protocol::Tcp6, tcp6)]
        .into_iter()
        .flat_map(|(protocol, table)| table.into_iter().map(move |entry| of_tcp(protocol, entry)))
        .chain(
            [(Protocol::Udp, udp), (Protocol::Udp6, udp6)]
                .into_iter()
                .flat_map(|(protocol, table)| {
                    table.into_iter().map(move |entry| of_udp(protocol, entry))
                }),
        )
        .chain(unix_sockets::of(process)?);
    for (inode, mut socket) in found {
        if let Some(mut descriptors) = fds.remove(&inode) {
            descriptors.sort_unstable();
            socket.fds = descriptors;
            sockets.list.push(socket);
        }
    }
    sockets.others = fds
        .iter()
        .filter(|(inode, descriptors)| are_still(process, **inode, descriptors))
        .count();
    sockets.list.sort_by(|one, other| key(one).cmp(&key(other)));
    Ok(sockets)
}

fn key(socket: &Socket) -> impl Ord + '_ {
    (
        socket.protocol,
        socket.state != LISTEN,
        socket.state,
        &socket.local,
        &socket.remote,
    )
}

/// Whether these descriptors still belong to that socket. A socket that was closed before
/// the tables were read is in none of them.
fn are_still(process: &Process, inode: u64, descriptors: &[i32]) -> bool {
    descriptors.iter().any(|fd| {
        process
            .fd_from_fd(*fd)
            .is_ok_and(|fd| matches!(fd.target, FDTarget::Socket(now) if now == inode))
    })
}

/// Treats missing tables as empty: a kernel without IPv6 has none for it.
fn where_supported<T>(table: ProcResult<Vec<T>>) -> ProcResult<Vec<T>> {
    match table {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

fn of_tcp(protocol: Protocol, entry: TcpNetEntry) -> (u64, Socket) {
    let state = match entry.state {
        TcpState::Established => "established",
        TcpState::SynSent => "syn-sent",
        TcpState::SynRecv | TcpState::NewSynRecv => "syn-recv",
        TcpState::FinWait1 => "fin-wait-1",
        TcpState::FinWait2 => "fin-wait-2",
        TcpState::TimeWait => "time-wait",
        TcpState::Close => "closed",
        TcpState::CloseWait => "close-wait",
        TcpState::LastAck => "last-ack",
        TcpState::Listen => LISTEN,
        TcpState::Closing => "closing",
    };
    let queues = (entry.rx_queue, entry.tx_queue);
    let ends = (entry.local_address, entry.remote_address);
    (entry.inode, internet(protocol, state, ends, queues))
}

fn of_udp(protocol: Protocol, entry: UdpNetEntry) -> (u64, Socket) {
    let state = match entry.state {
        UdpState::Established => "connected",
        UdpState::Close => "unconnected",
    };
    let queues = (entry.rx_queue, entry.tx_queue);
    let ends = (entry.local_address, entry.remote_address);
    (entry.inode, internet(protocol, state, ends, queues))
}

fn internet(
    protocol: Protocol,
    state: &'static str,
    (local, remote): (SocketAddr, SocketAddr),
    (receive, send): (u32, u32),
) -> Socket {
    // Port 0 stands for no peer.
    let has_peer = remote.port() != 0 || !remote.ip().is_unspecified();
    Socket {
        fds: Vec::new(),
        protocol,
        state,
        local: Some(Address::Internet(local)),
        remote: has_peer.then_some(Address::Internet(remote)),
        queues: Some(Queues { receive, send }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        net::{TcpListener, UdpSocket},
        os::{
            fd::AsRawFd,
            unix::net::{UnixListener, UnixStream},
        },
    };

    use super::*;

    fn own(fd: i32) -> Socket {
        let sockets = of(&Process::myself().unwrap()).unwrap();
        let found = sockets.list.iter().find(|socket| socket.fds.contains(&fd));
        found
            .unwrap_or_else(|| panic!("{fd} is not in {sockets:#?}"))
            .clone()
    }

    #[test]
    fn sockets_of_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = listener.try_clone().unwrap();
        let socket = own(listener.as_raw_fd());
        assert_eq!((socket.protocol, socket.state), (Protocol::Tcp, LISTEN));
        assert_eq!(
            socket.local,
            Some(Address::Internet(listener.local_addr().unwrap()))
        );
        assert_eq!(socket.remote, None);
        let mut both = [listener.as_raw_fd(), again.as_raw_fd()];
        both.sort_unstable();
        assert_eq!(socket.fds, both);

        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(own(datagrams.as_raw_fd()).state, "unconnected");
        datagrams.connect(listener.local_addr().unwrap()).unwrap();
        let socket = own(datagrams.as_raw_fd());
        assert_eq!(
            (socket.protocol, socket.state),
            (Protocol::Udp, "connected")
        );
        assert_eq!(
            socket.remote,
            Some(Address::Internet(listener.local_addr().unwrap()))
        );
    }

    #[test]
    fn unix_sockets_of_this_process() {
        let directory = tempfile::tempdir().unwrap();
        // No line of the table ends where it seems to.
        let path = directory.path().join("a path\nwith: 00000002 00000000");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let socket = own(listener.as_raw_fd());
        assert_eq!(
            (socket.protocol, socket.state),
            (Protocol::UnixStream, LISTEN)
        );
        let start = directory.path().join("a path").display().to_string();
        let Some(Address::Path(shown)) = socket.local else {
            panic!("{socket:#?}");
        };
        assert!(shown.starts_with(&start), "{shown}");
        assert_eq!(own(server.as_raw_fd()).state, "connected");
        let socket = own(client.as_raw_fd());
        assert_eq!((socket.state, socket.local), ("connected", None));
    }
}
