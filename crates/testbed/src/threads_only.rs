//! No async at all: threads that wait in system calls and locks, and one that computes. Each is
//! inside a function that is named after what it does.

use std::{
    hint::{black_box, spin_loop},
    io::Read,
    os::unix::net::UnixStream,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{Pending, settlement},
};

static LOCK: Mutex<()> = Mutex::new(());
static SPINS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    let _held = LOCK.lock();
    for (name, body) in [
        ("parker", parks as fn(Pending)),
        ("reader", reads),
        ("locker", locks),
        ("sleeper", sleeps),
        ("spinner", spins),
    ] {
        let pending = pending.clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(pending))
            .map_err(|error| error.to_string())?;
    }
    drop(pending);
    settlement.wait();
    control.serve(|| SPINS.load(Relaxed))
}

#[inline(never)]
fn parks(pending: Pending) {
    drop(pending);
    loop {
        thread::park();
    }
}

#[inline(never)]
fn reads(pending: Pending) {
    let ends = UnixStream::pair();
    drop(pending);
    if let Ok((mut near, _far)) = ends {
        black_box(near.read(&mut [0; 16]).is_ok());
    }
}

#[inline(never)]
fn locks(pending: Pending) {
    drop(pending);
    black_box(LOCK.lock().is_ok());
}

#[inline(never)]
fn sleeps(pending: Pending) {
    drop(pending);
    thread::sleep(FOREVER);
    // Without more to do, and something else than equal functions do, this one might be left out.
    black_box("slept as a thread");
}

#[inline(never)]
fn spins(pending: Pending) {
    drop(pending);
    loop {
        SPINS.fetch_add(1, Relaxed);
        spin_loop();
    }
}
