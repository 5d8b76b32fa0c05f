//! Linux on x86_64.

mod handler;
mod maps;
mod memory;
mod signal;
mod stack;
mod tasks;

pub(crate) use self::maps::MapTable;
pub(crate) use self::memory::{Woken, discard, map, monotonic, wait, wait_until, wake};
pub(crate) use self::signal::{current_tid, handler_in_place, install, note_pid, send};
pub(crate) use self::stack::stack_end;
pub(crate) use self::tasks::Tasks;
