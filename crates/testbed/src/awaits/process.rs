//! Another process, and the standard input of this one.

use std::{io, process::Stdio};

use tokio::{
    io::{AsyncReadExt, stdin},
    process::Command,
};

use super::{Spawner, complain};

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("process", complain(waiting_for_a_child()));
    tasks.spawn("stdin", complain(reading_stdin()));
}

/// The child ends with this process, which closes the pipe to it.
async fn waiting_for_a_child() -> io::Result<()> {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let _open = child.stdin.take();
    child.wait().await?; // AWAIT process
    Ok(())
}

async fn reading_stdin() -> io::Result<()> {
    stdin().read_u8().await?; // AWAIT stdin
    Ok(())
}
