//! A relay whose client has hung up and whose upstream stays silent is kept forever; others end
//! properly (tokio#3876, rathole#460).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::variant::{Variant, runtime};

const LOOPBACK: &str = "127.0.0.1:0";
/// One in this many clients is kept waiting.
const KEPT: usize = 8;

pub(crate) fn run(variant: Variant) {
    let served = runtime(2).block_on(serve(variant));
    served.expect("the loopback works");
}

async fn serve(variant: Variant) -> std::io::Result<()> {
    let upstream_listener = TcpListener::bind(LOOPBACK).await?;
    let upstream_address = upstream_listener.local_addr()?;
    let front = TcpListener::bind(LOOPBACK).await?;
    let front_address = front.local_addr()?;
    tokio::spawn(upstream(upstream_listener));
    tokio::spawn(async move {
        while let Ok((client, _)) = front.accept().await {
            variant.spawn(relay(client, upstream_address));
        }
    });
    for number in 0_usize.. {
        let mut client = TcpStream::connect(front_address).await?;
        let first = if number.is_multiple_of(KEPT) {
            b"k"
        } else {
            b"q"
        };
        client.write_all(first).await?;
        let _closed = client.shutdown().await;
        drop(client);
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn relay(mut client: TcpStream, upstream: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        let _copied = copy_bidirectional(&mut client, &mut server).await; // STUCK relay: its server says nothing more
    }
}

async fn upstream(listener: TcpListener) {
    let mut kept = Vec::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut first = [0];
        let read = socket.read_exact(&mut first).await;
        if read.is_ok() && &first == b"k" {
            kept.push(socket);
        }
    }
}
