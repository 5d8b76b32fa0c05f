//! From Syncthing.

use std::sync::{Arc, RwLock};

use rtops_agent::Track;
use tokio::{
    sync::{
        Mutex,
        mpsc::{self, Receiver},
    },
    task::JoinHandle,
};

use crate::{
    threads::thread,
    traffic::{TASKS, requests},
};

/// syncthing#4829. A port mapping is locked to clear its addresses. Those who are told of it are
/// called at once, and read the mapping.
pub(crate) fn port_mapping() {
    let mapping = Arc::new(RwLock::new(vec!["203.0.113.7:22000"]));
    thread("nat", move || {
        mapping
            .write()
            .expect("nobody panics")
            .retain(|address| notify(&mapping, address));
    });
}

fn notify(mapping: &RwLock<Vec<&str>>, removed: &str) -> bool {
    let addresses = mapping.read().expect("nobody panics"); // LEAK syncthing-4829
    addresses.contains(&removed)
}

/// syncthing#5795. A connection is closed by what its dispatcher calls for a message. To close it,
/// the dispatcher is awaited.
pub(crate) fn dispatcher() {
    requests(TASKS, |_| connect());
}

fn connect() {
    let (inbox, messages) = mpsc::channel(1);
    let connection = Arc::new(Connection::default());
    let dispatch = dispatch(Arc::clone(&connection), messages);
    let dispatcher = tokio::spawn(dispatch.tracked("dispatcher"));
    if let Ok(mut place) = connection.dispatcher.try_lock() {
        *place = Some(dispatcher);
    }
    inbox.try_send("cluster config").ok();
}

#[derive(Default)]
struct Connection {
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

impl Connection {
    async fn close(&self) {
        let dispatcher = self.dispatcher.lock().await.take();
        if let Some(dispatcher) = dispatcher {
            dispatcher.await.ok(); // LEAK syncthing-5795
        }
    }
}

async fn dispatch(connection: Arc<Connection>, mut messages: Receiver<&str>) {
    while let Some(message) = messages.recv().await {
        if message == "cluster config" {
            connection.close().await;
        }
    }
}
