//! Once somebody else has taken SIGTRAP over, nothing is stepped.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "replaces a signal handler")]

mod common;

use common::{refused, stepper, still_works};
use rtops_step::{Refusal, Stepper};

extern "C" fn other(_: i32) {}

#[test]
fn a_later_handler_is_respected() {
    let stepper = stepper();
    still_works(&stepper);
    // SAFETY: `other` is async-signal-safe; `before` is what was in force.
    let before = unsafe { libc::signal(libc::SIGTRAP, other as *const () as usize) };
    refused(&stepper, Refusal::HandlerReplaced);
    refused(&Stepper::new().unwrap(), Refusal::HandlerReplaced);
    // SAFETY: an all-zero action is valid; only the present one is read.
    let now = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGTRAP, std::ptr::null(), &raw mut action);
        action.sa_sigaction
    };
    assert_eq!(now, other as *const () as usize, "it stays");
    assert_ne!(before, now);
}
