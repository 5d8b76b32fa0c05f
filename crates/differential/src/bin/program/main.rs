//! A program with many kinds of tasks, built as services are: `rtops-differential-program RUNTIME`.
//!
//! The runtime is `multi` or `current`. Once all tasks wait, or have reached what they do when they
//! are polled again, it prints `ready` and how many there are, and continues until a signal ends
//! it, which leaves a core.

mod ends;
mod values;
mod waits;
mod wide;
mod work;

use std::{
    env,
    error::Error,
    future::{Future, pending, poll_fn},
    io::{self, Write as _},
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    thread,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rtops_testbed::{
    FOREVER,
    settle::{Pending, settled, settlement},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

/// How many tasks there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Counts a task.
fn counted<F>(future: F) -> F {
    COUNT.fetch_add(1, Ordering::Relaxed);
    future
}

struct Spawner(Pending);

impl Spawner {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(counted(settled(future, self.0.clone())));
    }

    /// Spawns a task that works each time it is polled, and then waits.
    fn work(&self, mut work: impl FnMut() + Send + 'static) {
        self.spawn(async move {
            let mut rest = Box::pin(sleep(FOREVER));
            poll_fn(|context| {
                work();
                rest.as_mut().poll(context)
            })
            .await;
        });
    }

    /// Spawns a task that waits for nothing, and does something when it is polled again.
    fn then(&self, mut then: impl FnMut() -> Poll<()> + Send + 'static) {
        let mut is_first = true;
        self.spawn(poll_fn(move |_| {
            if std::mem::take(&mut is_first) {
                Poll::Pending
            } else {
                then()
            }
        }));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, most, most)?;
    let runtime = runtime(env::args().nth(1).as_deref())?;
    let (pending, settlement) = settlement();
    thread::spawn(move || {
        settlement.wait();
        // The test that reads it may be gone.
        writeln!(io::stdout(), "ready {}", COUNT.load(Ordering::Relaxed)).ok();
    });
    runtime.block_on(run(Spawner(pending)));
    Ok(())
}

fn runtime(kind: Option<&str>) -> Result<Runtime, Box<dyn Error>> {
    let mut builder = match kind {
        Some("multi") => Builder::new_multi_thread(),
        Some("current") => Builder::new_current_thread(),
        other => return Err(format!("no runtime is called {other:?}").into()),
    };
    Ok(builder.worker_threads(2).enable_all().build()?)
}

async fn run(spawner: Spawner) {
    values::spawn(&spawner);
    wide::spawn(&spawner);
    work::spawn(&spawner);
    waits::spawn(&spawner);
    ends::spawn(&spawner);
    drop(spawner);
    pending().await
}
