//! Targets with many kinds of kernel state.

use std::{
    fs::File,
    os::fd::AsRawFd as _,
    process::Command,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use nix::sys::signal::{SigSet, Signal, raise};

use crate::targets::{ROUNDS, park_all, serve, serve_counts};

const VALUE: u64 = 0x1234_5678;

/// Runs a target with pending and blocked signals, timers, a zombie and a
/// living child, shared memory, and a locked file.
pub fn rich() {
    let memory =
        nix::sys::memfd::memfd_create("shared", nix::sys::memfd::MFdFlags::empty()).unwrap();
    let memory = File::from(memory);
    memory.set_len(4096).unwrap();
    // SAFETY: a new mapping at an address that the kernel chooses.
    let shared = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            memory.as_raw_fd(),
            0,
        )
    }
    .cast::<AtomicU64>();
    // SAFETY: it was mapped above and is never unmapped.
    let shared = unsafe { &*shared };
    shared.store(VALUE, Relaxed);
    memory.lock().unwrap();
    let timer = nix::sys::timer::Timer::new(
        nix::time::ClockId::CLOCK_MONOTONIC,
        nix::sys::signal::SigEvent::new(nix::sys::signal::SigevNotify::SigevNone),
    );
    let mut ended = Command::new("true").spawn().unwrap();
    let mut lives = Command::new("sleep").arg("1000").spawn().unwrap();
    let ended_pid = ended.id();
    crate::process::wait_until("the child has ended", || {
        crate::process::status(ended_pid.cast_signed(), "State")
            .is_some_and(|state| state.starts_with('Z'))
    });
    park_all(2);
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    blocked.add(Signal::SIGUSR2);
    blocked.thread_block().unwrap();
    // Sent to this thread only: the others do not block it, and it would end the process.
    raise(Signal::SIGUSR1).unwrap();
    serve(|line| {
        if line != "check" {
            return "?".into();
        }
        let is_same = shared.load(Relaxed) == VALUE
            && timer.is_ok()
            && ended.try_wait().unwrap().is_some()
            && lives.try_wait().unwrap().is_none()
            && memory.metadata().unwrap().len() == 4096;
        lives.kill().unwrap();
        lives.wait().unwrap();
        if is_same { "as before" } else { "changed" }.into()
    });
}

static SENT: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    HANDLED.fetch_add(1, Relaxed);
}

/// Gets a real-time signal all the time; none may be lost or arrive twice.
pub fn signals() {
    let signal = libc::SIGRTMIN() + 3;
    // SAFETY: the handler only counts.
    unsafe { libc::signal(signal, count as *const () as usize) };
    park_all(2);
    std::thread::spawn(move || {
        loop {
            SENT.fetch_add(1, Relaxed);
            // SAFETY: it takes numbers. A signal that a thread sends to
            // itself has arrived when this returns.
            unsafe { libc::raise(signal) };
            if SENT.load(Relaxed) != HANDLED.load(Relaxed) {
                ROUNDS.wrong.fetch_add(1, Relaxed);
            }
            ROUNDS.rounds.fetch_add(1, Relaxed);
        }
    });
    serve_counts();
}
