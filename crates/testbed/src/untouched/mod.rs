//! A service under load, with untracked tasks whose polls do harm in a copy of the process, and
//! with everything that a copy could harm.
//!
//! | command | answer |
//! |---|---|
//! | `port` | the port of the echo server |
//! | `poke` | `poked`, once each counted task was woken |
//! | `child` | how a child of the target itself ended |
//! | `state` | `name=value` for everything that only the target itself may change |

mod children;
mod echo;
mod hostile;
mod resources;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::interval,
};

use self::resources::Resources;
use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

/// How many tasks count their polls.
const COUNTED: usize = 10;

static TICKS: AtomicU64 = AtomicU64::new(0);
static POLLS: AtomicU64 = AtomicU64::new(0);

/// Runs with all kinds of hostile polls, or with the named one.
pub(crate) fn run(control: Control, kind: Option<&str>) -> Result<Never, String> {
    let failed = |error: std::io::Error| error.to_string();
    children::count_signals().map_err(failed)?;
    let resources = Resources::make().map_err(failed)?;
    let runtime = workers(2)?;
    let _inside = runtime.enter();
    let port = echo::start().map_err(failed)?;
    let (settling, settlement) = settlement();
    for act in hostile::acts(kind.unwrap_or("all"), resources)? {
        let task = settled(hostile::OnlyInACopy::new(act), settling.clone());
        drop(tokio::spawn(task));
    }
    let poke = Arc::new(Notify::new());
    for _ in 0..COUNTED {
        let task = counted(Arc::clone(&poke), resources);
        drop(tokio::spawn(settled(task, settling.clone())));
    }
    drop(tokio::spawn(settled(beside(), settling)));
    settlement.wait();
    drop(tokio::spawn(ticks()));
    control.serve_with(
        || TICKS.load(SeqCst),
        |command| match command {
            "port" => Some(port.to_string()),
            "poke" => {
                poke.notify_waiters();
                Some("poked".to_owned())
            }
            "child" => Some(children::run_one()),
            "state" => Some(format!(
                "polls={} {} {}",
                POLLS.load(SeqCst),
                resources.state(),
                children::state()
            )),
            _ => None,
        },
    )
}

async fn beside() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT untouched-beside
}

async fn ticks() {
    let mut interval = interval(Duration::from_millis(10));
    loop {
        interval.tick().await; // AWAIT untouched-ticks
        TICKS.fetch_add(1, SeqCst);
    }
}

/// Counts its polls in this process's memory, of which a copy has its own, and in shared memory.
async fn counted(poke: Arc<Notify>, resources: &Resources) {
    let mut waiting = pin!(waiting(poke));
    poll_fn(|context| {
        POLLS.fetch_add(1, SeqCst);
        resources.shared_word().fetch_add(1, SeqCst);
        waiting.as_mut().poll(context)
    })
    .await; // AWAIT untouched-counted
}

async fn waiting(poke: Arc<Notify>) {
    loop {
        poke.notified().await; // AWAIT untouched-counted
    }
}
