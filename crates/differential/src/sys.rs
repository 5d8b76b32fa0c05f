//! Calls that nix has no safe form of. All `unsafe` code of this crate is here.
#![expect(
    unsafe_code,
    reason = "a process is traced from its first instruction on"
)]

use std::{
    io,
    mem::MaybeUninit,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    sys::{prctl, ptrace, signal::Signal},
    unistd::Pid,
};

/// The register set with the state of all units; not in `libc`.
const NT_X86_XSTATE: libc::c_int = 0x202;

/// Starts a process that stops before its first instruction, traced by this thread. It does not
/// outlive the thread.
pub(crate) fn spawn_traced() -> io::Result<Pid> {
    let mut command = Command::new("/proc/self/exe");
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let be_traced = || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        ptrace::traceme()?;
        Ok(())
    };
    // SAFETY: the closure makes two system calls and converts an integer. It does not allocate or
    // take a lock, which another thread may have held at the fork.
    unsafe { command.pre_exec(be_traced) };
    let child = command.spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// Fills `state` with x87 and vector registers, in the layout of `xsave`, and returns its length.
pub(crate) fn xstate(pid: Pid, state: &mut [u8]) -> io::Result<usize> {
    regset(libc::PTRACE_GETREGSET, pid, state)
}

/// Sets registers from a state that [`xstate`] filled in, with changes.
pub(crate) fn set_xstate(pid: Pid, state: &mut [u8]) -> io::Result<()> {
    regset(libc::PTRACE_SETREGSET, pid, state)?;
    Ok(())
}

fn regset(request: libc::c_uint, pid: Pid, state: &mut [u8]) -> io::Result<usize> {
    let mut place = libc::iovec {
        iov_base: state.as_mut_ptr().cast(),
        iov_len: state.len(),
    };
    // SAFETY: the kernel reads or writes at most `iov_len` bytes at `iov_base`, for which `state`
    // is borrowed, and then writes `iov_len`. A process that is not traced is an error.
    let result = unsafe { libc::ptrace(request, pid.as_raw(), NT_X86_XSTATE, &raw mut place) };
    Errno::result(result)?;
    Ok(place.iov_len)
}

/// Returns the address of the access for which SIGSEGV or SIGBUS stopped a process.
pub(crate) fn fault_address(pid: Pid) -> io::Result<u64> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one `siginfo_t`, or fails.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETSIGINFO,
            pid.as_raw(),
            std::ptr::null_mut::<libc::c_void>(),
            info.as_mut_ptr(),
        )
    };
    Errno::result(result)?;
    // SAFETY: it consists of integers and pointers, for which zeros are valid, and the
    // kernel has filled it in.
    let info = unsafe { info.assume_init() };
    // SAFETY: for these signals the kernel sets an address, and any bits are an address.
    Ok(unsafe { info.si_addr() }.addr() as u64)
}
