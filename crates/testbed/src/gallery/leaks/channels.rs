//! Sends that nobody receives, and receives that nobody sends to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use rtops_agent::Track;
use tokio::sync::{
    mpsc::{self, Receiver, Sender},
    oneshot, watch,
};

use crate::traffic::{TASKS, requests};

/// The audit log is full, and the task that should write it to disk was never started.
pub(crate) fn send_unread() {
    let (audit, unread) = mpsc::channel(1);
    audit.try_send(0).ok();
    requests(TASKS, move |number| {
        let _kept = &unread;
        rtops_agent::spawn(record(audit.clone(), number));
    });
}

async fn record(audit: Sender<usize>, entry: usize) {
    audit.send(entry).await.ok(); // LEAK send-unread
}

/// A crawler puts what it finds into the queue that it processes.
pub(crate) fn send_to_itself() {
    let (queue, pages) = mpsc::channel(4);
    queue.try_send(1).ok();
    tokio::spawn(crawl(queue, pages).tracked("crawler"));
}

async fn crawl(queue: Sender<u64>, mut pages: Receiver<u64>) {
    while let Some(page) = pages.recv().await {
        for link in 0..3 {
            queue.send(page * 3 + link).await.ok(); // LEAK send-to-itself
        }
    }
}

/// Calls wait for replies whose senders are in a map that nobody looks at any more.
pub(crate) fn receive_kept() {
    let client = Arc::new(Client::default());
    requests(TASKS, move |number| {
        rtops_agent::spawn(call(Arc::clone(&client), number));
    });
}

#[derive(Default)]
struct Client {
    waiting: Mutex<HashMap<usize, oneshot::Sender<u64>>>,
}

async fn call(client: Arc<Client>, number: usize) -> Option<u64> {
    let (sender, reply) = oneshot::channel();
    client.waiting.lock().ok()?.insert(number, sender);
    reply.await.ok() // LEAK receive-kept
}

/// A session ends when all senders of its inbox are gone. It owns one itself.
pub(crate) fn receive_own() {
    requests(TASKS, |_| {
        let (client, inbox) = mpsc::channel(8);
        client.try_send(Command::Later("ping")).ok();
        rtops_agent::spawn(session(inbox, client));
    });
}

enum Command {
    Later(&'static str),
    Now(#[expect(dead_code, reason = "no session looks at it")] &'static str),
}

async fn session(mut inbox: Receiver<Command>, own: Sender<Command>) -> Option<()> {
    loop {
        let command = inbox.recv().await?; // LEAK receive-own
        if let Command::Later(text) = command {
            own.send(Command::Now(text)).await.ok()?;
        }
    }
}

/// Two rooms refer to each other, so neither is ever dropped, nor the sender in it.
pub(crate) fn receive_cycle() {
    requests(TASKS, |_| {
        let (left, right) = (Room::open(), Room::open());
        left.join(&right);
        right.join(&left);
    });
}

struct Room {
    messages: Sender<String>,
    neighbour: Mutex<Option<Arc<Self>>>,
}

impl Room {
    fn open() -> Arc<Self> {
        let (messages, inbox) = mpsc::channel(8);
        rtops_agent::spawn(relay(inbox));
        let neighbour = Mutex::default();
        Arc::new(Self {
            messages,
            neighbour,
        })
    }

    fn join(self: &Arc<Self>, other: &Arc<Self>) {
        other.messages.try_send("hello".to_owned()).ok();
        if let Ok(mut neighbour) = self.neighbour.lock() {
            *neighbour = Some(Arc::clone(other));
        }
    }
}

async fn relay(mut inbox: Receiver<String>) {
    while inbox.recv().await.is_some() {} // LEAK receive-cycle
}

/// Handlers wait until the cache is warm. What warms it returned early and kept the sender.
pub(crate) fn receive_watch() {
    let (warm, cache) = watch::channel(false);
    requests(TASKS, move |_| {
        let _kept = &warm;
        rtops_agent::spawn(when_warm(cache.clone()));
    });
}

async fn when_warm(mut cache: watch::Receiver<bool>) {
    cache.wait_for(|warm| *warm).await.ok(); // LEAK receive-watch
}
