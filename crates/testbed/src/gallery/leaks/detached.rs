//! Tasks that nobody awaits, and that outlive their purpose.

use std::{sync::Arc, time::Duration};

use rtops_agent::Track;
use tokio::{
    select,
    sync::{
        broadcast,
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    locks::Semaphore,
    traffic::{TASKS, requests},
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A handler starts a task that watches for the client's cancellation, drops the
/// handle, and ends. The client never cancels.
pub(crate) fn handle_dropped() {
    let (cancel, _) = broadcast::channel::<usize>(1);
    requests(TASKS, move |number| {
        let mut cancelled = cancel.subscribe();
        let watch = async move {
            while cancelled.recv().await.is_ok_and(|other| other != number) {} // LEAK handle-dropped
        };
        drop(rtops_agent::spawn(watch));
    });
}

/// `select!` drops the losers. Here that is the handle of a task; the task itself goes on.
pub(crate) fn select_detaches() {
    let (to_index, unread) = mpsc::channel(1);
    to_index.try_send("warm-up").ok();
    requests(TASKS, move |_| {
        let _kept = &unread;
        let index = to_index.clone();
        rtops_agent::spawn(search(index));
    });
}

async fn search(index: Sender<&'static str>) {
    let slow = rtops_agent::spawn(ask(index));
    select! {
        _ = slow => {}
        () = sleep(Duration::from_millis(20)) => {}
    }
}

async fn ask(index: Sender<&'static str>) {
    index.send("rust").await.ok(); // LEAK select-detaches
}

/// One task for each event, however many there are and however slow the next service is.
pub(crate) fn fan_out() {
    let mails = Arc::new(Semaphore::new(1));
    let slow = Arc::clone(&mails);
    let send = async move {
        let _sending = slow.acquire().await;
        sleep(HOUR).await;
    };
    tokio::spawn(send.tracked("mail"));
    requests(TASKS, move |_| {
        rtops_agent::spawn(notify(Arc::clone(&mails)));
    });
}

async fn notify(mails: Arc<Semaphore>) {
    let sent = mails.acquire().await; // LEAK fan-out
    drop(sent);
}

/// A connection is aborted. The tasks that it started for its streams go on.
pub(crate) fn parent_cancelled() {
    let (frames, _) = broadcast::channel::<u64>(16);
    let (opened, all_open) = oneshot::channel();
    let subscribe = frames.clone();
    let connection = async move {
        for _stream in 0..3 {
            let mut frames = subscribe.subscribe();
            let stream = async move {
                frames.recv().await.ok(); // LEAK parent-cancelled
            };
            tokio::spawn(stream.tracked("stream"));
        }
        opened.send(()).ok();
        sleep(HOUR).await;
    };
    let connection = tokio::spawn(connection.tracked("connection"));
    tokio::spawn(abort(connection, all_open).tracked("client"));
    tokio::spawn(keep(frames).tracked("source"));
}

async fn abort(connection: JoinHandle<()>, all_open: oneshot::Receiver<()>) {
    all_open.await.ok();
    connection.abort();
}

/// A query is dropped by a timeout. The writer that it started waits for more rows.
pub(crate) fn parent_timed_out() {
    let (rows, to_write) = mpsc::channel(16);
    let (answered, answer) = std::sync::mpsc::channel();
    let source = rows.clone();
    let query = async move {
        tokio::spawn(write(to_write).tracked("writer"));
        rows.send("row").await.ok();
        sleep(HOUR).await;
    };
    let request = async move {
        let result = timeout(Duration::from_millis(20), query.tracked("query")).await;
        answered.send(result).ok();
    };
    tokio::spawn(request.tracked("request"));
    tokio::spawn(keep(source).tracked("source"));
    answer.recv().expect("the time-out strikes").ok();
}

/// Keeps a value without which other tasks would end.
async fn keep<T>(kept: T) {
    sleep(HOUR).await;
    drop(kept);
}

async fn write(mut rows: Receiver<&str>) {
    while rows.recv().await.is_some() {} // LEAK parent-timed-out
}
