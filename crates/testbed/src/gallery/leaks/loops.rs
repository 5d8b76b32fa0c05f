//! Loops without an exit.

use std::{
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use rtops_agent::Track;
use tokio::time::interval;

use crate::traffic::{TASKS, requests};

/// Each session starts a loop that renews its lease. Nothing tells
/// the loop that the session has ended.
pub(crate) fn poller() {
    requests(TASKS, |session| {
        rtops_agent::spawn(renew_lease(session));
    });
}

async fn renew_lease(session: usize) {
    let mut due = interval(Duration::from_secs(10));
    let mut renewals = vec![session];
    loop {
        due.tick().await; // LEAK loop-poller
        renewals.truncate(1);
    }
}

/// A task waits for a flag in a busy loop.
pub(crate) fn spinning() {
    let flushed = Arc::new(AtomicBool::new(false));
    let (started, start) = mpsc::channel();
    let flush = async move {
        started.send(()).ok();
        wait_until(&flushed); // LEAK loop-spinning
    };
    tokio::spawn(flush.tracked("flush"));
    start.recv().expect("the task starts");
}

fn wait_until(flag: &AtomicBool) {
    while !flag.load(Relaxed) {
        spin_loop();
    }
}

/// A task sleeps between its retries, but blocks its thread while it does.
pub(crate) fn sleeping_in_poll() {
    let reconnect = async {
        let mut tries = 0_u64;
        while !is_back(tries) {
            thread::sleep(Duration::from_millis(20)); // LEAK loop-sleeping-in-poll
            tries += 1;
        }
    };
    tokio::spawn(reconnect.tracked("reconnect"));
}

/// Whether the peer answers again. It never does.
fn is_back(tries: u64) -> bool {
    tries == u64::MAX
}
