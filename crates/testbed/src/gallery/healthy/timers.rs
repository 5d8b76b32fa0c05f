//! Tasks that wait for a point in time, and slow ones that make progress.

use std::{io, time::Duration};

use rtops_agent::Track;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::watch,
    time::{interval, sleep, timeout},
};

use crate::traffic::{NO_END, goes_wrong, requests};

/// A certificate that is renewed in a day.
pub(crate) fn long_timer() {
    let renew = async {
        sleep(Duration::from_secs(24 * 60 * 60)).await;
    };
    tokio::spawn(renew.tracked("renew"));
}

/// A loop that does something small at intervals.
pub(crate) fn intervals() {
    let flush = async {
        let mut due = interval(Duration::from_millis(100));
        loop {
            due.tick().await;
        }
    };
    tokio::spawn(flush.tracked("flush"));
}

/// A transfer over a slow line: always in the same read, but always further along.
pub(crate) fn slow_progress() {
    let (near, far) = duplex(64);
    tokio::spawn(trickle(far).tracked("modem"));
    tokio::spawn(download(near).tracked("download"));
}

async fn trickle(mut line: DuplexStream) -> io::Result<()> {
    loop {
        sleep(Duration::from_millis(200)).await;
        line.write_all(b"byte").await?;
    }
}

async fn download(mut line: DuplexStream) -> io::Result<usize> {
    let mut file = Vec::new();
    line.read_to_end(&mut file).await
}

/// Requests that wait for news, for an hour at most. Most get some immediately.
pub(crate) fn long_poll() {
    requests(NO_END, |number| {
        rtops_agent::spawn(poll_news(number));
    });
}

async fn poll_news(number: usize) {
    let (news, mut known) = watch::channel(0);
    if !goes_wrong(number) {
        news.send_replace(1);
    }
    let changed = timeout(Duration::from_secs(60 * 60), known.changed());
    changed.await.ok();
}
