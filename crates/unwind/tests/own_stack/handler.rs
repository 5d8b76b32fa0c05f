//! Captures a stack with a signal handler on it.
#![expect(unsafe_code, reason = "a signal handler of the test's own")]

use std::{ffi::c_int, sync::Mutex};

use crate::capture::{Captured, capture};

static IN_HANDLER: Mutex<Option<Captured>> = Mutex::new(None);

/// Captures in the handler of a signal that the thread sends to itself, on its own stack.
pub fn capture_in_handler() -> Captured {
    // SAFETY: the signal arrives only in `raise`, where this thread holds no lock.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
            0
        );
        libc::raise(libc::SIGUSR1);
    }
    IN_HANDLER
        .lock()
        .expect("not poisoned")
        .take()
        .expect("the handler ran")
}

extern "C" fn on_signal(_: c_int) {
    *IN_HANDLER.lock().expect("not poisoned") = Some(capture());
}
