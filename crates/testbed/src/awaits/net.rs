//! Sockets. They are set up without an await, so that the first await to wait is the marked one.

use std::{
    io,
    net::{Ipv4Addr, TcpListener as StdListener, TcpStream as StdStream},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream},
};

use super::{Spawner, complain};

/// More than the buffers of a socket hold.
const TOO_MUCH: usize = 64 << 20;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("tcp-accept", complain(accepting()));
    tasks.spawn("tcp-read", complain(reading()));
    tasks.spawn("tcp-write", complain(writing()));
    tasks.spawn("udp-recv", complain(receiving()));
    tasks.spawn("unix-read", complain(reading_locally()));
    tasks.spawn("unix-datagram", complain(receiving_locally()));
}

/// Returns both ends of a connection.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = StdStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    Ok((TcpStream::from_std(client)?, TcpStream::from_std(server)?))
}

async fn accepting() -> io::Result<()> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    listener.accept().await?; // AWAIT tcp-accept
    Ok(())
}

async fn reading() -> io::Result<()> {
    let (mut client, _server) = connection()?;
    client.read_u8().await?; // AWAIT tcp-read
    Ok(())
}

async fn writing() -> io::Result<()> {
    let (mut client, _server) = connection()?;
    client.write_all(&vec![0; TOO_MUCH]).await // AWAIT tcp-write
}

async fn receiving() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.recv_from(&mut [0; 16]).await?; // AWAIT udp-recv
    Ok(())
}

async fn reading_locally() -> io::Result<()> {
    let (mut near, _far) = UnixStream::pair()?;
    near.read_u8().await?; // AWAIT unix-read
    Ok(())
}

async fn receiving_locally() -> io::Result<()> {
    let (near, _far) = UnixDatagram::pair()?;
    near.recv(&mut [0; 16]).await?; // AWAIT unix-datagram
    Ok(())
}
