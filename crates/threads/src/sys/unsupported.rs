//! A platform on which threads can't be captured: `install` fails, so nothing else is ever reached.

use std::{io, ptr::NonNull, sync::atomic::AtomicU32, time::Duration};

use crate::{InstallError, Signal, Tid, slot::Cookie};

pub(crate) struct MapTable;

impl MapTable {
    pub(crate) fn read() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) fn install(_: Signal) -> Result<(), InstallError> {
    Err(InstallError::Unsupported)
}

pub(crate) fn handler_in_place(_: Signal) -> bool {
    false
}

pub(crate) fn send(_: Signal, _: Tid, _: Cookie) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn current_tid() -> Tid {
    Tid::new(0)
}

pub(crate) fn note_pid() {}

pub(crate) fn wait(_: &AtomicU32, _: u32, timeout: Duration) {
    std::thread::sleep(timeout);
}

pub(crate) fn wake(_: &AtomicU32) {}

pub(crate) fn map(_: usize) -> io::Result<NonNull<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn discard(_: NonNull<u8>, _: usize) {}
