//! I/O that never ends.

use std::{io, net::SocketAddr};

use rtops_agent::Track;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::traffic::{NO_END, SOCKETS, goes_wrong, requests};

/// A backend accepts connections and never answers.
pub(crate) fn read_silent() {
    let (listener, address) = listen(None);
    let backend = async move {
        let mut accepted = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            accepted.push(stream);
        }
    };
    tokio::spawn(backend.tracked("backend"));
    requests(SOCKETS, move |_| {
        rtops_agent::spawn(ask_price(address));
    });
}

async fn ask_price(address: SocketAddr) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u64(1).await?;
    stream.read_u64().await // LEAK io-read-silent
}

/// A backend answers most requests, and forgets a few.
pub(crate) fn read_some() {
    let (listener, address) = listen(None);
    tokio::spawn(forgetful(listener).tracked("backend"));
    requests(NO_END, move |number| {
        rtops_agent::spawn(ask_stock(address, number));
    });
}

async fn ask_stock(address: SocketAddr, number: usize) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u64(number as u64).await?;
    stream.read_u64().await // LEAK io-read-some
}

async fn forgetful(listener: TcpListener) -> io::Result<()> {
    let mut forgotten = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let number = stream.read_u64().await?;
        if goes_wrong(number as usize) {
            forgotten.push(stream);
        } else {
            stream.write_u64(number).await?;
        }
    }
}

/// Updates are pushed to subscribers, one of which has stopped reading.
pub(crate) fn write_unread() {
    let (listener, address) = listen(Some(4096));
    let subscribers = async move {
        let mut stopped = Vec::with_capacity(1);
        while let Ok((stream, _)) = listener.accept().await {
            if stopped.is_empty() {
                stopped.push(stream);
            } else {
                rtops_agent::spawn(read_all(stream));
            }
        }
    };
    tokio::spawn(subscribers.tracked("subscribers"));
    requests(NO_END, move |_| {
        rtops_agent::spawn(push(address));
    });
}

async fn push(address: SocketAddr) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(&[0; 256 * 1024]).await // LEAK io-write-unread
}

async fn read_all(mut stream: TcpStream) -> io::Result<u64> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
}

/// Opens a listener on the loopback, with a small receive buffer if wanted.
fn listen(buffer: Option<u32>) -> (TcpListener, SocketAddr) {
    let bound = || {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size)?;
        }
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(64)?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    bound().expect("the loopback has a free port")
}
