//! Files, signals and buffers.

use std::{
    io::{self, pipe},
    os::fd::AsRawFd,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, duplex},
    net::UnixStream,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
};

use crate::awaits::{Spawner, complain};

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("fs", complain(reading_a_file()));
    tasks.spawn("ctrl-c", complain(waiting_for_ctrl_c()));
    tasks.spawn("signal", complain(waiting_for_a_signal()));
    tasks.spawn("duplex", complain(reading_a_duplex()));
    tasks.spawn("lines", complain(reading_lines()));
    tasks.spawn("buf-reader", complain(reading_a_buffer()));
}

/// The file is a pipe that nobody writes to.
async fn reading_a_file() -> io::Result<()> {
    let (reader, _writer) = pipe()?;
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    tokio::fs::read(path).await?; // AWAIT fs
    Ok(())
}

async fn waiting_for_ctrl_c() -> io::Result<()> {
    ctrl_c().await // AWAIT ctrl-c
}

async fn waiting_for_a_signal() -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    hangups.recv().await; // AWAIT signal
    Ok(())
}

async fn reading_a_duplex() -> io::Result<()> {
    let (mut near, _far) = duplex(16);
    near.read_u8().await?; // AWAIT duplex
    Ok(())
}

async fn reading_lines() -> io::Result<()> {
    let (near, _far) = UnixStream::pair()?;
    let mut lines = BufReader::new(near).lines();
    lines.next_line().await?; // AWAIT lines
    Ok(())
}

async fn reading_a_buffer() -> io::Result<()> {
    let (near, _far) = UnixStream::pair()?;
    let mut reader = BufReader::new(near);
    reader.fill_buf().await?; // AWAIT buf-reader
    Ok(())
}
