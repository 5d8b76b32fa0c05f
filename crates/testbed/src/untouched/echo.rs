//! An echo server, written as by a service that knows nothing of rtops.

use std::{
    io,
    net::{Ipv4Addr, TcpListener as StdListener},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How much a client sends at a time, and waits for, in bytes.
const MESSAGE: usize = 64;

/// Returns the port.
pub(super) fn start() -> io::Result<u16> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    drop(tokio::spawn(accept(TcpListener::from_std(listener)?)));
    Ok(port)
}

#[expect(clippy::print_stderr, reason = "for the log of the test")]
async fn accept(listener: TcpListener) {
    loop {
        let accepted = listener.accept().await; // AWAIT untouched-accept
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(answer(stream))),
            Err(error) => eprintln!("testbed: accept: {error}"),
        }
    }
}

#[expect(clippy::print_stderr, reason = "for the log of the test")]
async fn answer(mut stream: TcpStream) {
    let mut message = [0; MESSAGE];
    loop {
        let read = stream.read_exact(&mut message).await; // AWAIT untouched-echo
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => return eprintln!("testbed: read: {error}"),
        }
        let written = stream.write_all(&message).await; // AWAIT untouched-echo
        if let Err(error) = written {
            return eprintln!("testbed: write: {error}");
        }
    }
}
