//! Reads and writes the memory of a running or stopped process.

use std::io::{IoSlice, IoSliceMut};

use nix::{
    errno::Errno,
    sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev},
    unistd,
};
use rtops_image::Pid;

const PAGE: usize = 4096;

const fn number(pid: Pid) -> unistd::Pid {
    unistd::Pid::from_raw(pid.as_raw())
}

/// Reads from an address as far as memory is readable there, and returns the number of bytes.
pub(crate) fn read(pid: Pid, address: u64, into: &mut [u8]) -> nix::Result<usize> {
    let there = [RemoteIoVec {
        base: usize::try_from(address).map_err(|_| Errno::EFAULT)?,
        len: into.len(),
    }];
    process_vm_readv(number(pid), &mut [IoSliceMut::new(into)], &there)
}

/// Reads exactly `N` bytes; `None` if not all are readable.
pub(crate) fn read_exact<const N: usize>(pid: Pid, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let read = read(pid, address, &mut bytes).ok()?;
    (read == N).then_some(bytes)
}

/// Writes to a stack from its upper end down, a page at a time. If the stack ends, for example at a
/// guard page that the list of mappings does not show, nothing below is written. Unlike
/// `/proc/PID/mem`, this fails where the process itself may not write.
pub(crate) fn write_down(pid: Pid, address: u64, bytes: &[u8]) -> nix::Result<()> {
    let start = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let mut end = bytes.len();
    while end > 0 {
        let at = (start + end - 1) / PAGE * PAGE;
        let from = at.saturating_sub(start);
        let part = bytes.get(from..end).unwrap_or_default();
        let there = [RemoteIoVec {
            base: start + from,
            len: part.len(),
        }];
        if process_vm_writev(number(pid), &[IoSlice::new(part)], &there)? != part.len() {
            return Err(Errno::EFAULT);
        }
        end = from;
    }
    Ok(())
}
