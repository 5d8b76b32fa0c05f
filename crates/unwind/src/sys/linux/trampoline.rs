//! Finds the code that signal handlers return to.
#![expect(unsafe_code, reason = "sigaction takes pointers")]

use std::{mem, ptr};

/// The kernel's flag for "sa_restorer is set".
const SA_RESTORER: libc::c_int = 0x0400_0000;

/// Returns the address of libc's trampoline, as passed to the kernel with any signal's action;
/// `None` if no action was ever set, in which case no handler can be on a stack either.
pub(crate) fn signal_trampoline() -> Option<u64> {
    (1..=64).find_map(|signal| {
        // SAFETY: all-zero is a valid sigaction.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: only writes the current action to `action`.
        if unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } != 0 {
            return None;
        }
        let restorer = action
            .sa_restorer
            .filter(|_| action.sa_flags & SA_RESTORER != 0)?;
        Some((restorer as *const ()).addr() as u64)
    })
}
