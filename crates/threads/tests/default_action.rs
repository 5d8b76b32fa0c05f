//! Tests that a signal that ends the process by default still does so if it isn't ours.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "raises a signal")]

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use rtops_threads::{Signal, install};

const IS_CHILD: &str = "RTOPS_THREADS_TEST_CHILD";

#[test]
fn a_foreign_signal_without_handler_ends_the_process() {
    if std::env::var_os(IS_CHILD).is_some() {
        install(Signal::USER_1).unwrap();
        // SAFETY: raise has no preconditions.
        unsafe { libc::raise(libc::SIGUSR1) };
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .env(IS_CHILD, "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGUSR1));
}
