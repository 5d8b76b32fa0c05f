//! A service with this many MiB of memory, which writes to all of it again and again on command.
//!
//! In addition to the commands of all scenarios:
//!
//! | command | answer |
//! |---|---|
//! | `write` | `writing`; from then on it writes, and `check` counts the pages |

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use tokio::sync::Notify;

use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{settled, settlement},
};

const PAGE: usize = 4096;
/// How many tasks wait meanwhile.
const TASKS: usize = 3;

static WRITTEN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, mebibytes: Option<&str>) -> Result<Never, String> {
    let mebibytes: Option<usize> = mebibytes.and_then(|number| number.parse().ok());
    let mut memory = vec![1; mebibytes.ok_or("how many MiB is a number")? << 20];
    let runtime = workers(2)?;
    let (pending, settlement) = settlement();
    for _ in 0..TASKS {
        runtime.spawn(settled(waits(), pending.clone()));
    }
    drop(pending);
    settlement.wait();
    let writer = thread::Builder::new().name("writer".to_owned());
    let writer = writer.spawn(move || {
        thread::park();
        loop {
            write_to_each_page(&mut memory);
        }
    });
    let writer = writer.map_err(|error| error.to_string())?;
    control.serve_with(
        || WRITTEN.load(Relaxed),
        |command| {
            (command == "write").then(|| {
                writer.thread().unpark();
                "writing".to_owned()
            })
        },
    )
}

fn write_to_each_page(memory: &mut [u8]) {
    for page in black_box(memory).chunks_mut(PAGE) {
        if let Some(byte) = page.first_mut() {
            *byte = byte.wrapping_add(1);
        }
        WRITTEN.fetch_add(1, Relaxed);
    }
}

async fn waits() {
    Notify::new().notified().await; // AWAIT writing-waits
}
