//! Tasks that await long-running others.

use std::time::Duration;

use rtops_agent::{JoinSet, Track};
use tokio::time::interval;

/// A main task that awaits its three long-running children.
pub(crate) fn long_children() {
    let main = async {
        let mut children = JoinSet::new();
        for _ in 0..3 {
            children.spawn(tick());
        }
        while children.join_next().await.is_some() {}
    };
    tokio::spawn(main.tracked("main"));
}

/// A handle that is awaited for as long as the service runs.
pub(crate) fn handle() {
    let server = tokio::spawn(tick().tracked("server"));
    let main = async move {
        server.await.ok();
    };
    tokio::spawn(main.tracked("main"));
}

async fn tick() {
    let mut due = interval(Duration::from_millis(100));
    loop {
        due.tick().await;
    }
}
