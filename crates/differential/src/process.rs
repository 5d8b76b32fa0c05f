//! A traced process that has only what it is given.

use std::{fs::File, io, marker::PhantomData, ops::Range, os::unix::fs::FileExt as _};

use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rtops_emulate::{Access, PAGE_SIZE, Registers};

use crate::{sys, xstate::Layout};

/// The address of the process's own page. As with the places of polls, no
/// kernel maps anything there.
const HOME: u64 = 0x1000_3000_0000;
/// `syscall`, `int3`.
const CALL: [u8; 3] = [0x0f, 0x05, 0xcc];
/// The end of the addresses that a process can map.
pub(crate) const END: u64 = 0x7fff_ffff_f000;

/// The maximum size of the state, in bytes; more than any processor uses, because the matrices of
/// AMX exist only if a process asks for them.
const LARGEST_XSTATE: usize = 1 << 14;

/// What happened when a process ran.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// It reached the place where it should stop.
    Stopped,
    /// It was about to get a signal, for an access to this address if the
    /// signal is SIGSEGV or SIGBUS.
    Signal(Signal, u64),
}

/// A process that is stopped unless it is told to run. It ends when this is
/// dropped, and with this thread.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    memory: File,
    layout: Layout,
    /// Only the thread that traces a process can control it.
    _thread: PhantomData<*const ()>,
}

impl Process {
    /// Starts a process without any memory of its own.
    pub(crate) fn start() -> io::Result<Self> {
        let pid = sys::spawn_traced()?;
        let ended = Ending(pid);
        expect(wait(pid)?, WaitStatus::Stopped(pid, Signal::SIGTRAP))?;
        ptrace::setoptions(
            pid,
            Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEFORK,
        )?;
        let process = Self::of(pid, Layout::native())?;
        std::mem::forget(ended);
        let entry = ptrace::getregs(pid)?.rip;
        process.write(entry, &CALL)?;
        let page = HOME..HOME + PAGE_SIZE as u64;
        process.map_from(entry, page.clone(), Access::READ_EXECUTE)?;
        process.write(HOME, &CALL)?;
        process.unmap(0..page.start)?;
        process.unmap(page.end..END)?;
        Ok(process)
    }

    fn of(pid: Pid, layout: Layout) -> io::Result<Self> {
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))?;
        Ok(Self {
            pid,
            memory,
            layout,
            _thread: PhantomData,
        })
    }

    /// Creates another process with the same memory.
    pub(crate) fn fork(&self) -> io::Result<Self> {
        // Makes it our child, not that of the process, which could not reap it.
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        self.prepare(HOME, libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0])?;
        ptrace::cont(self.pid, None)?;
        let event = libc::PTRACE_EVENT_FORK;
        expect(
            wait(self.pid)?,
            WaitStatus::PtraceEvent(self.pid, Signal::SIGTRAP, event),
        )?;
        let child = Pid::from_raw(ptrace::getevent(self.pid)? as i32);
        let ended = Ending(child);
        expect(wait(child)?, WaitStatus::Stopped(child, Signal::SIGSTOP))?;
        self.finish(HOME)?;
        let child = Self::of(child, self.layout.clone())?;
        std::mem::forget(ended);
        Ok(child)
    }

    /// Fills `into`, whatever access the memory allows.
    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        self.memory.read_exact_at(into, address)
    }

    /// Reads as much as there is, and returns its size.
    pub(crate) fn read_some(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        self.memory.read_at(into, address)
    }

    /// Writes `bytes`, whatever access the memory allows.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }

    /// Maps memory that reads as zeros.
    pub(crate) fn map(&self, range: Range<u64>, access: Access) -> io::Result<()> {
        self.map_from(HOME, range, access)
    }

    fn map_from(&self, code: u64, range: Range<u64>, access: Access) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let length = range.end - range.start;
        let arguments = [
            range.start,
            length,
            protection(access),
            flags as u64,
            u64::MAX,
            0,
        ];
        self.call(code, libc::SYS_mmap, arguments)
    }

    pub(crate) fn protect(&self, range: Range<u64>, access: Access) -> io::Result<()> {
        let length = range.end - range.start;
        let arguments = [range.start, length, protection(access), 0, 0, 0];
        self.call(HOME, libc::SYS_mprotect, arguments)
    }

    pub(crate) fn unmap(&self, range: Range<u64>) -> io::Result<()> {
        let length = range.end - range.start;
        self.call(HOME, libc::SYS_munmap, [range.start, length, 0, 0, 0, 0])
    }

    /// Makes it execute a system call, with the code at `code`.
    fn call(&self, code: u64, number: i64, arguments: [u64; 6]) -> io::Result<()> {
        self.prepare(code, number, arguments)?;
        self.finish(code)
    }

    fn prepare(&self, code: u64, number: i64, arguments: [u64; 6]) -> io::Result<()> {
        let mut registers = ptrace::getregs(self.pid)?;
        registers.rip = code;
        registers.rax = number.cast_unsigned();
        // It is not in a system call that could be restarted.
        registers.orig_rax = u64::MAX;
        [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ] = arguments;
        ptrace::setregs(self.pid, registers)?;
        Ok(())
    }

    fn finish(&self, code: u64) -> io::Result<()> {
        ptrace::cont(self.pid, None)?;
        expect(
            wait(self.pid)?,
            WaitStatus::Stopped(self.pid, Signal::SIGTRAP),
        )?;
        let registers = ptrace::getregs(self.pid)?;
        if registers.rip != code + CALL.len() as u64 {
            let text = format!("it stopped at {:#x}", registers.rip);
            return Err(io::Error::other(text));
        }
        match registers.rax.cast_signed() {
            error @ -4095..0 => Err(io::Error::from_raw_os_error(-error as i32)),
            _ => Ok(()),
        }
    }

    /// Updates `registers`; those of x87 and vectors only if `vectors` is set.
    pub(crate) fn update(&self, registers: &mut Registers, vectors: bool) -> io::Result<()> {
        let from = ptrace::getregs(self.pid)?;
        registers.general = [
            from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi,
            from.r8, from.r9, from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
        ];
        registers.rip = from.rip;
        registers.rflags = from.eflags;
        registers.fs_base = from.fs_base;
        registers.gs_base = from.gs_base;
        if vectors {
            let mut state = [0; LARGEST_XSTATE];
            let length = sys::xstate(self.pid, &mut state)?;
            self.layout.get(&state[..length], registers);
        }
        Ok(())
    }

    /// Sets all registers.
    pub(crate) fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        let mut to = ptrace::getregs(self.pid)?;
        [
            to.rax, to.rcx, to.rdx, to.rbx, to.rsp, to.rbp, to.rsi, to.rdi, to.r8, to.r9, to.r10,
            to.r11, to.r12, to.r13, to.r14, to.r15,
        ] = registers.general;
        to.rip = registers.rip;
        to.eflags = registers.rflags;
        to.fs_base = registers.fs_base;
        to.gs_base = registers.gs_base;
        to.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, to)?;
        let mut state = [0; LARGEST_XSTATE];
        let length = sys::xstate(self.pid, &mut state)?;
        let state = &mut state[..length];
        self.layout.set(registers, state);
        sys::set_xstate(self.pid, state)
    }

    /// Runs one instruction, or one iteration of a repeated one.
    pub(crate) fn step(&self) -> io::Result<Event> {
        ptrace::step(self.pid, None)?;
        self.stopped()
    }

    /// Runs until it reaches `address`; no other code may pass there.
    pub(crate) fn run_to(&self, address: u64) -> io::Result<Event> {
        let mut kept = [0];
        self.read(address, &mut kept)?;
        self.write(address, &CALL[2..])?;
        ptrace::cont(self.pid, None)?;
        let event = self.stopped()?;
        self.write(address, &kept)?;
        if event == Event::Stopped {
            let mut registers = ptrace::getregs(self.pid)?;
            registers.rip = address;
            ptrace::setregs(self.pid, registers)?;
        }
        Ok(event)
    }

    fn stopped(&self) -> io::Result<Event> {
        match wait(self.pid)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(Event::Stopped),
            WaitStatus::Stopped(_, signal) => {
                Ok(Event::Signal(signal, sys::fault_address(self.pid)?))
            }
            other => Err(io::Error::other(format!("unexpected: {other:?}"))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(Ending(self.pid));
    }
}

/// Ends and reaps a process when it is dropped.
struct Ending(Pid);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended already. A traced process may stop once more before it ends.
        let _has_ended = kill(self.0, Signal::SIGKILL);
        while let Ok(status) = wait(self.0) {
            if matches!(status, WaitStatus::Signaled(..) | WaitStatus::Exited(..)) {
                break;
            }
        }
    }
}

fn wait(pid: Pid) -> nix::Result<WaitStatus> {
    waitpid(pid, Some(WaitPidFlag::__WALL))
}

fn expect(status: WaitStatus, expected: WaitStatus) -> io::Result<()> {
    if status == expected {
        return Ok(());
    }
    let text = format!("unexpected: {status:?} in place of {expected:?}");
    Err(io::Error::other(text))
}

fn protection(access: Access) -> u64 {
    let flag = |is_set, flag: i32| if is_set { flag as u64 } else { 0 };
    flag(access.read, libc::PROT_READ)
        | flag(access.write, libc::PROT_WRITE)
        | flag(access.execute, libc::PROT_EXEC)
}
