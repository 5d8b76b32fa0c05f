//! The target's own children, and how often it is notified that one has ended.
#![expect(unsafe_code, reason = "a signal handler")]

use std::{
    io,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use nix::{
    libc::c_int,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

static SIGNALS: AtomicU64 = AtomicU64::new(0);
static CHILDREN: AtomicU64 = AtomicU64::new(0);

pub(super) fn count_signals() -> io::Result<()> {
    extern "C" fn count(_: c_int) {
        SIGNALS.fetch_add(1, SeqCst);
    }
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing except one atomic addition.
    unsafe { sigaction(Signal::SIGCHLD, &action) }?;
    Ok(())
}

/// Runs a child and returns how it ended.
pub(super) fn run_one() -> String {
    CHILDREN.fetch_add(1, SeqCst);
    let child = Command::new("/bin/sh")
        .args(["-c", "exit 7"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match child {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

pub(super) fn state() -> String {
    let (signals, children) = (SIGNALS.load(SeqCst), CHILDREN.load(SeqCst));
    format!("signals={signals} children={children}")
}
