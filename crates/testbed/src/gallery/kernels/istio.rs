//! From Istio.

use std::sync::Arc;

use rtops_agent::Track;
use tokio::{
    select,
    sync::{
        Notify,
        mpsc::{self, Receiver, Sender},
    },
};

use crate::traffic::{TASKS, requests};

/// istio#17860. The agent of a proxy was told to stop. Each later restart reports its end to the
/// agent, and nobody takes the report.
pub(crate) fn proxy_agent() {
    let (ends, unread) = mpsc::channel(1);
    ends.try_send(0).ok();
    requests(TASKS, move |epoch| {
        let _kept = &unread;
        rtops_agent::spawn(run_proxy(epoch, ends.clone()));
    });
}

async fn run_proxy(epoch: usize, ends: Sender<usize>) {
    ends.send(epoch).await.ok(); // LEAK istio-17860
}

/// istio#18454. A loop resets its timer. If the timer can't be stopped in time, the loop takes the
/// tick, which it has taken already. Callers that ask for a reset find the channel full.
pub(crate) fn debounce() {
    let (resets, to_reset) = mpsc::channel(1);
    let ticks = Arc::new(Notify::new());
    ticks.notify_one();
    tokio::spawn(debounced(ticks, to_reset).tracked("debounce"));
    let on_change = async move {
        for _change in 0..3 {
            resets.send(()).await.ok(); // LEAK istio-18454
        }
    };
    tokio::spawn(on_change.tracked("on change"));
}

async fn debounced(ticks: Arc<Notify>, mut resets: Receiver<()>) {
    loop {
        select! {
            biased;
            () = ticks.notified() => {}
            Some(()) = resets.recv() => ticks.notified().await,
        }
    }
}
