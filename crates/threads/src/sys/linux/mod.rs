//! Linux on x86_64.

mod handler;
mod maps;
mod memory;
mod signal;

pub(crate) use self::{
    maps::MapTable,
    memory::{discard, map, wait, wake},
    signal::{current_tid, handler_in_place, install, note_pid, send},
};
