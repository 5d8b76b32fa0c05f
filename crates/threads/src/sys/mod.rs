//! The functions that each platform supplies:
//!
//! - `install(signal)`, `handler_in_place(signal)`, `send(signal,
//!   tid, cookie)`: the handler and its signal
//! - `current_tid()`, `note_pid()`: the thread and process that capture
//! - `wait(word, seen, timeout)`, `wake(word)`: waiting for a handler
//! - `map(len)`, `discard(start, len)`: memory for the copies
//! - `MapTable`: the mappings of this process, for the handler

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use linux::{
    MapTable, current_tid, discard, handler_in_place, install, map, note_pid, send, wait, wake,
};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) use unsupported::{
    MapTable, current_tid, discard, handler_in_place, install, map, note_pid, send, wait, wake,
};
