//! Tasks that no waker wakes, and whose polls do what a look at them must survive.

use std::{
    fs::File,
    future::{Future, pending, poll_fn},
    hint::{black_box, spin_loop},
    io::{self, Read, Write},
    process::Command,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::Poll,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, Signal},
    unistd::pipe,
};
use rtops_agent::Track;
use tokio::{
    runtime::{Builder, Runtime},
    time::interval,
};

use crate::{
    Never,
    control::Control,
    settle::{Pending, settled, settlement},
};

static TICKS: AtomicU64 = AtomicU64::new(0);

/// The first poll is the task's own, the second that of the first dump's probe, the third is stepped.
const STEPPED: u32 = 3;

/// `passing`: polls that end; `endless`: one that does not; `blocked`: workers that block SIGTRAP;
/// `good`: none of all that.
pub(crate) fn run(control: Control, kind: Option<&str>) -> Result<Never, String> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(4).enable_all();
    if kind == Some("blocked") {
        builder.on_thread_start(|| block(Signal::SIGTRAP));
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let (settling, settlement) = settlement();
    let spawner = Spawner { runtime, settling };
    match kind {
        Some("passing") => {
            spawner.spawn("spins", bad(|_| spins(200_000)));
            spawner.spawn("spawns", bad(|_| spawns()));
            spawner.spawn("writes", bad(|_| writes()));
            spawner.spawn("masks", bad(|_| masks()));
            spawner.spawn("panics", bad(panics));
        }
        Some("endless") => spawner.spawn("endless", bad(endless)),
        Some("blocked" | "good") => {}
        other => return Err(format!("no polls are called {other:?}")),
    }
    spawner.spawn("beside", beside());
    let Spawner { runtime, settling } = spawner;
    drop(settling);
    settlement.wait();
    drop(runtime.spawn(ticks()));
    control.serve(|| TICKS.load(Relaxed))
}

struct Spawner {
    runtime: Runtime,
    settling: Pending,
}

impl Spawner {
    #[track_caller]
    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let task = settled(future.tracked(name), self.settling.clone());
        drop(self.runtime.spawn(task));
    }
}

/// Does something in each poll but the first, and waits for nothing.
fn bad(act: fn(u32)) -> impl Future<Output = ()> + Send {
    let mut polls = 0;
    poll_fn(move |_| {
        polls += 1;
        if polls > 1 {
            act(polls);
        }
        Poll::Pending
    })
}

async fn beside() {
    pending::<()>().await; // AWAIT beside
}

async fn ticks() {
    let mut interval = interval(Duration::from_millis(1));
    loop {
        interval.tick().await;
        TICKS.fetch_add(1, Relaxed);
    }
}

fn spins(rounds: u32) {
    for round in 0..rounds {
        black_box(round);
    }
}

fn spawns() {
    let joined = thread::spawn(|| spins(1000)).join().is_ok();
    let ended = Command::new("true").status();
    assert!(joined && ended.is_ok_and(|status| status.success()));
}

fn writes() {
    let mut bytes = [0; 4];
    let written = pipe()
        .map_err(io::Error::from)
        .and_then(|(reader, writer)| {
            File::from(writer).write_all(b"text")?;
            File::from(reader).read_exact(&mut bytes)
        });
    assert!(written.is_ok() && &bytes == b"text");
}

fn masks() {
    block(Signal::SIGTRAP);
    spins(1000);
    let mut set = SigSet::empty();
    set.add(Signal::SIGTRAP);
    assert!(set.thread_unblock().is_ok());
}

fn block(signal: Signal) {
    let mut set = SigSet::empty();
    set.add(signal);
    assert!(set.thread_block().is_ok());
}

fn panics(polls: u32) {
    assert!(polls < STEPPED, "on purpose");
}

fn endless(polls: u32) {
    while black_box(polls) >= STEPPED {
        spin_loop();
    }
}
