//! What each platform supplies:
//!
//! - `install(signal)`, `handler_in_place(signal)`, `send(signal, tid, value)`: the handler and its signal
//! - `current_tid()`, `note_pid()`, `Tasks`: who asks, and who there is
//! - `wait(word, seen, timeout)`, `wake(word)`: waiting for a handler
//! - `wait_until(word, seen, until)`, `monotonic(instant)`: waiting in a handler
//! - `map(len)`, `discard(start, len)`: memory for the copies
//! - `MapTable`, `stack_end(sp, hints, maps)`: the mappings of this process, and where a stack ends

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::{
    MapTable, Tasks, Woken, current_tid, discard, handler_in_place, install, map, monotonic,
    note_pid, send, stack_end, wait, wait_until, wake,
};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) use unsupported::{
    MapTable, Tasks, Woken, current_tid, discard, handler_in_place, install, map, monotonic,
    note_pid, send, stack_end, wait, wait_until, wake,
};
