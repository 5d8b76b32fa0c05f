//! A platform on which threads can't be captured: `install` says so, and nothing else is ever reached.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crate::gate::StackHints;
use crate::{InstallError, Signal, Tid};

pub(crate) struct MapTable;

impl MapTable {
    pub(crate) fn read() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) struct StackEnd {
    pub(crate) address: u64,
}

pub(crate) fn stack_end(_: u64, _: StackHints, _: Option<&MapTable>) -> Option<StackEnd> {
    None
}

pub(crate) struct Tasks;

impl Tasks {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn list(&mut self, _: impl FnMut(Tid)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) fn install(_: Signal) -> Result<(), InstallError> {
    Err(InstallError::Unsupported)
}

pub(crate) fn handler_in_place(_: Signal) -> bool {
    false
}

pub(crate) fn send(_: Signal, _: Tid, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn current_tid() -> Tid {
    Tid::new(0)
}

pub(crate) fn note_pid() {}

pub(crate) fn wait(_: &AtomicU32, _: u32, timeout: Duration) {
    std::thread::sleep(timeout);
}

pub(crate) enum Woken {
    LookAgain,
    GiveUp,
}

pub(crate) fn wait_until(_: &AtomicU32, _: u32, _: u64) -> Woken {
    Woken::GiveUp
}

pub(crate) fn monotonic(_: Instant) -> u64 {
    0
}

pub(crate) fn wake(_: &AtomicU32) {}

pub(crate) fn map(_: usize) -> io::Result<NonNull<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn discard(_: NonNull<u8>, _: usize) {}
