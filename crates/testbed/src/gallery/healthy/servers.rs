//! Servers with connections that are silent at the moment.

use std::{io, net::SocketAddr, time::Duration};

use rtops_agent::Track;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{interval, sleep},
};

use crate::traffic::{NO_END, requests};

const IDLE: usize = 8;

/// A server in accept, and kept-alive connections that send nothing.
pub(crate) fn idle() {
    let address = serve();
    tokio::spawn(stay_connected(address).tracked("clients"));
}

/// The same, with short connections that come and go besides the silent ones.
pub(crate) fn busy() {
    let address = serve();
    tokio::spawn(stay_connected(address).tracked("clients"));
    requests(NO_END, move |_| {
        rtops_agent::spawn(echo_once(address));
    });
}

fn serve() -> SocketAddr {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(64)?;
        io::Result::Ok((listener.local_addr()?, listener))
    };
    let (address, listener) = listen().expect("the loopback has a free port");
    tokio::spawn(accept(listener).tracked("server"));
    address
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        rtops_agent::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream
            .write_all(buffer.get(..read).unwrap_or_default())
            .await?;
    }
}

async fn stay_connected(address: SocketAddr) -> io::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        connections.push(TcpStream::connect(address).await?);
    }
    sleep(Duration::from_secs(60 * 60)).await;
    drop(connections);
    Ok(())
}

async fn echo_once(address: SocketAddr) -> io::Result<u8> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u8(1).await?;
    stream.read_u8().await
}

/// A task that reloads on SIGHUP, which nobody sends.
pub(crate) fn signals() {
    let reload = async {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut reloads = 0;
        while hangups.recv().await.is_some() {
            reloads += 1;
        }
        io::Result::Ok(reloads)
    };
    tokio::spawn(reload.tracked("reload"));
}

/// Tasks that wait for a change of the configuration.
pub(crate) fn config_watch() {
    let (configured, config) = watch::channel(0_u64);
    for part in ["router", "limiter", "logger"] {
        let mut config = config.clone();
        let follow = async move { while config.changed().await.is_ok() {} };
        tokio::spawn(follow.tracked(part));
    }
    let reload = async move {
        let mut due = interval(Duration::from_secs(60 * 60));
        loop {
            due.tick().await;
            configured.send_modify(|version| *version += 1);
        }
    };
    tokio::spawn(reload.tracked("config"));
}

/// Many tasks that work until they are told to stop, with little work.
pub(crate) fn graceful() {
    let (shutdown, stopped) = watch::channel(false);
    let mut inboxes = Vec::new();
    for room in 0..32 {
        let (inbox, messages) = mpsc::channel(4);
        inboxes.push(inbox);
        let chat = chat(messages, stopped.clone());
        tokio::spawn(chat.tracked(format!("room {room}")));
    }
    let operator = async move {
        let mut due = interval(Duration::from_millis(200));
        for turn in 0.. {
            due.tick().await;
            let chosen = inboxes.len() / 2 + turn % 4;
            if let Some(inbox) = inboxes.get(chosen) {
                inbox.send("hello").await.ok();
            }
        }
        shutdown.send_replace(true);
    };
    tokio::spawn(operator.tracked("operator"));
}

async fn chat(mut messages: mpsc::Receiver<&str>, mut stopped: watch::Receiver<bool>) -> usize {
    let mut heard = 0;
    loop {
        select! {
            Some(_) = messages.recv() => heard += 1,
            _ = stopped.changed() => return heard,
        }
    }
}
