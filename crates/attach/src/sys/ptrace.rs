//! Ptrace requests that `nix` does not cover: resuming with unknown signals, signal masks, the
//! state of all register components, and seccomp.

use std::ptr;

use nix::{errno::Errno, unistd};
use rtops_image::Tid;

/// The register set with the state of all components; not in `libc`.
const NT_X86_XSTATE: usize = 0x202;
const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
/// The event of a seized thread that stopped without a signal to deliver.
const EVENT_STOP: i32 = 128;
/// The size of the kernel's signal set, which differs from that of `libc`.
const SIGNAL_SET: usize = size_of::<u64>();
/// More than any processor has: with the AMX tiles, the state is 11 KiB.
const LARGEST_XSTATE: usize = 1 << 14;

/// Why a traced thread is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    /// It was asked to stop, or was traced from its start.
    Asked,
    /// By job control: its process was sent this signal, SIGSTOP or a terminal's stop signal.
    JobControl,
    /// At this ptrace event.
    Event(i32),
    /// At the entry or exit of a system call.
    Call,
    /// Before this signal is delivered.
    Signal(i32),
    /// It has ended and is reaped.
    Ended,
}

/// Converts a thread ID to the type that `nix` uses for tracees.
pub(crate) const fn traced(tid: Tid) -> unistd::Pid {
    unistd::Pid::from_raw(tid.as_raw())
}

/// Returns whether a traced thread has stopped or ended, without
/// waiting. `ECHILD` if there is no such thread.
pub(crate) fn poll(tid: Tid) -> nix::Result<Option<Stop>> {
    let mut status = 0;
    let flags = libc::__WALL | libc::WNOHANG;
    // SAFETY: `status` is a local that the kernel may write to.
    let result = unsafe { libc::waitpid(tid.as_raw(), &raw mut status, flags) };
    if Errno::result(result)? == 0 {
        return Ok(None);
    }
    if !libc::WIFSTOPPED(status) {
        return Ok(Some(Stop::Ended));
    }
    Ok(Some(match (status >> 16, libc::WSTOPSIG(status)) {
        (EVENT_STOP, libc::SIGTRAP) => Stop::Asked,
        (EVENT_STOP, _) => Stop::JobControl,
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        (0, signal) => Stop::Signal(signal),
        (event, _) => Stop::Event(event),
    }))
}

fn request(number: libc::c_uint, tid: Tid, address: usize, data: usize) -> nix::Result<usize> {
    // SAFETY: the callers in this file pass pointers as the request
    // expects them, which stay valid for the call.
    let result = unsafe { libc::ptrace(number, tid.as_raw(), address, data) };
    Errno::result(result).map(|result| usize::try_from(result).unwrap_or(0))
}

/// Detaches from a thread, which continues with a signal if it stopped for one.
pub(crate) fn detach(tid: Tid, signal: i32) -> nix::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, number(signal)).map(drop)
}

/// Resumes a thread until something happens to it.
pub(crate) fn go_on(tid: Tid) -> nix::Result<()> {
    request(libc::PTRACE_CONT, tid, 0, 0).map(drop)
}

/// Resumes a thread until it enters or leaves a system call.
pub(crate) fn go_on_to_call(tid: Tid) -> nix::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, 0).map(drop)
}

fn number(signal: i32) -> usize {
    usize::try_from(signal).unwrap_or(0)
}

/// Returns the signals that a stopped thread blocks.
pub(crate) fn signal_mask(tid: Tid) -> nix::Result<u64> {
    let mut mask = 0_u64;
    request(
        libc::PTRACE_GETSIGMASK,
        tid,
        SIGNAL_SET,
        (&raw mut mask).addr(),
    )?;
    Ok(mask)
}

/// Sets the signals that a stopped thread blocks; the kernel ignores SIGKILL and SIGSTOP.
pub(crate) fn set_signal_mask(tid: Tid, mask: u64) -> nix::Result<()> {
    let mask = &raw const mask;
    request(libc::PTRACE_SETSIGMASK, tid, SIGNAL_SET, mask.addr()).map(drop)
}

/// A reusable buffer for the state of all register components of a thread: the kernel does not
/// report its length beforehand.
#[derive(Debug)]
pub(crate) struct XstateBuffer(Vec<u8>);

impl XstateBuffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; LARGEST_XSTATE])
    }

    /// Reads the state of a stopped thread, in the layout of `xsave`.
    pub(crate) fn read(&mut self, tid: Tid) -> nix::Result<&[u8]> {
        let mut place = libc::iovec {
            iov_base: self.0.as_mut_ptr().cast(),
            iov_len: self.0.len(),
        };
        // The kernel writes at most `iov_len` bytes to the buffer and
        // stores the number written in `place`.
        request(
            libc::PTRACE_GETREGSET,
            tid,
            NT_X86_XSTATE,
            (&raw mut place).addr(),
        )?;
        Ok(self.0.get(..place.iov_len).unwrap_or_default())
    }
}

/// One instruction of a seccomp filter: the code with both jump offsets, and a constant.
pub(crate) type FilterStep = [u32; 2];

/// Reads a seccomp filter of a stopped thread; index 0 is the newest. `None` after the last.
pub(crate) fn seccomp_filter(tid: Tid, index: usize) -> nix::Result<Option<Vec<FilterStep>>> {
    let length = match request(
        PTRACE_SECCOMP_GET_FILTER,
        tid,
        index,
        ptr::null::<u8>().addr(),
    ) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    // The thread is stopped, so the second request finds the same filter, of this length.
    let mut filter = vec![[0; 2]; length];
    let place = filter.as_mut_ptr();
    request(PTRACE_SECCOMP_GET_FILTER, tid, index, place.addr())?;
    Ok(Some(filter))
}
