//! Tests that a handler installed over ours is reported and left alone.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "changes the signal's action")]

mod common;

use common::{Worker, capture};
use rtops_threads::Missing;

fn action(new: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: all-zero is a valid sigaction, and both pointers are valid or null.
    unsafe {
        let mut old = std::mem::zeroed();
        let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
        assert_eq!(libc::sigaction(libc::SIGURG, new, &raw mut old), 0);
        old
    }
}

#[test]
fn a_replaced_handler_is_reported_and_not_fought() {
    let worker = Worker::spawn(|released| {
        released.recv().unwrap_err();
    });
    capture(worker.tid).unwrap();
    // SAFETY: all-zero is a valid sigaction.
    let mut ignore: libc::sigaction = unsafe { std::mem::zeroed() };
    ignore.sa_sigaction = libc::SIG_IGN;
    let ours = action(Some(&ignore));

    assert_eq!(capture(worker.tid).unwrap_err(), Missing::HandlerReplaced);
    common::capturer();
    assert_eq!(capture(worker.tid).unwrap_err(), Missing::HandlerReplaced);
    assert_eq!(action(None).sa_sigaction, libc::SIG_IGN);

    action(Some(&ours));
    capture(worker.tid).unwrap();
}
