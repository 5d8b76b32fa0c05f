//! Makes a stopped thread run system calls, and restores it.
//!
//! Whatever is set up completes without this process, should that end at any instruction: see
//! [`frames`]. Usually it does not come to that. The thread stops again after its system call, at a
//! point where the kernel restarts interrupted calls, and all its registers are restored there.

use libc::user_regs_struct;
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
    },
    unistd,
};
use rtops_image::{Pid, Tid, live::Mapping};

use crate::{
    NoCopy, Refusal, Step,
    code::Code,
    frames::{self, ALL_SIGNALS, Frames, is_repeated},
    memory,
    points::point,
    stop::Thread,
    sys::{self, Stop, XstateBuffer},
    tracee::{Bell, Tracee, ended_or},
};

/// The most bytes that all frames take: 11 KiB of registers with AMX, and five frames of 320 bytes.
const LARGEST: u64 = 16 << 10;
/// The code segment of 64-bit code.
const CODE_64: u64 = 0x33;

/// Why nothing was injected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// There can be no copy, but the process is stopped and can be read.
    NoCopy(NoCopy),
    /// The process can be neither copied nor read.
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Chooses the thread to use: one that waits in a system call, on its original stack. On any other
/// stack it is not known what lies below the stack pointer.
pub(crate) fn usable<'t>(pid: Pid, threads: &'t [Thread], maps: &[Mapping]) -> Option<&'t Thread> {
    let is_usable = |thread: &&Thread| {
        let registers = &thread.registers;
        thread.signal == 0
            && registers.orig_rax.cast_signed() >= 0
            && registers.cs == CODE_64
            && has_room(pid, thread, maps)
    };
    threads.iter().filter(is_usable).min_by_key(|thread| {
        // The best thread is one whose call is restarted, as it notices nothing, not even an
        // `EINTR`. A thread that was interrupted before is in `restart_syscall`, which only the
        // kernel can repeat, not a frame: if the helper is killed, that call returns `EINTR`.
        let call = thread.registers.orig_rax.cast_signed();
        let rank = match (call, is_repeated(thread.registers.rax)) {
            (libc::SYS_futex, true) => 0,
            (libc::SYS_restart_syscall, _) => 3,
            (_, true) => 1,
            (_, false) => 2,
        };
        (rank, thread.tid)
    })
}

fn has_room(pid: Pid, thread: &Thread, maps: &[Mapping]) -> bool {
    let registers = &thread.registers;
    let stack = maps.iter().find(|map| map.range.contains(&registers.rsp));
    let Some(stack) = stack else { return false };
    // A thread's TLS lies at the upper end of its stack. The main thread's lies
    // elsewhere, but the kernel names its stack.
    let is_own = if thread.tid == pid.main_thread() {
        stack.is_named("[stack]")
    } else {
        stack.range.contains(&registers.fs_base) && !stack.is_named("[heap]")
    };
    let low = registers.rsp.saturating_sub(LARGEST);
    is_own && stack.access.write && !stack.is_shared() && stack.range.start <= low
}

/// What an injection needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools<'b> {
    pub(crate) bell: &'b Bell,
    pub(crate) code: Code,
    /// The size of the register state in a signal frame.
    pub(crate) frame_size: usize,
    pub(crate) pid: Pid,
}

/// A stopped thread that is made to run system calls. When dropped, it is as it was and still
/// stopped. A signal that had to be held back is sent again.
#[derive(Debug)]
pub(crate) struct Injection<'b> {
    tools: Tools<'b>,
    tracee: Tracee<'b>,
    original: user_regs_struct,
    mask: u64,
    /// The address of the frame that restores the thread.
    back: u64,
    is_changed: bool,
}

impl<'b> Injection<'b> {
    /// Reads a thread, and checks the code once more: the process may have called `exec` since.
    fn new(tools: Tools<'b>, thread: &Thread) -> Result<(Self, Frames), Failure> {
        if !tools.code.is_there(tools.pid) {
            return Err(Refusal::OtherProgram.into());
        }
        let failed = Step::Copy.failed();
        let mask = sys::signal_mask(thread.tid).map_err(ended_or(&failed))?;
        let mut buffer = XstateBuffer::new();
        let xstate = buffer.read(thread.tid).map_err(ended_or(&failed))?;
        let original = thread.registers;
        let frames = Frames::new(tools.code, &original, mask, xstate, tools.frame_size);
        let (frames, back) = frames.ok_or(Failure::NoCopy(NoCopy::NoThread))?;
        let injection = Self {
            tools,
            tracee: Tracee::new(thread.tid, tools.bell),
            original,
            mask,
            back,
            is_changed: false,
        };
        Ok((injection, frames))
    }

    /// Writes the frames and points the thread at the first call, which it makes when it resumes.
    fn put(&mut self, frames: Frames, registers: user_regs_struct) -> Result<(), Failure> {
        let (low, bytes) = frames.finish();
        if bytes.len() as u64 > LARGEST {
            return Err(Failure::NoCopy(NoCopy::NoThread));
        }
        memory::write_down(self.tools.pid, low, &bytes)
            .map_err(|_| Failure::NoCopy(NoCopy::NoThread))?;
        point();
        let failed = Step::Copy.failed();
        let tid = self.tracee.tid;
        let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACESYSGOOD;
        ptrace::setoptions(sys::traced(tid), options).map_err(ended_or(&failed))?;
        point();
        self.is_changed = true;
        ptrace::setregs(sys::traced(tid), registers).map_err(ended_or(&failed))?;
        point();
        // No signal must arrive in between. The last frame also restores the mask.
        sys::set_signal_mask(tid, ALL_SIGNALS).map_err(ended_or(&failed))?;
        point();
        Ok(())
    }

    /// Makes a thread run one system call and returns its result.
    pub(crate) fn call(tools: Tools<'b>, thread: &Thread, call: [u64; 6]) -> Result<i64, Failure> {
        let (mut injection, frames) = Self::new(tools, thread)?;
        let registers = frames.registers(injection.back, call);
        injection.put(frames, registers)?;
        let result = injection.run_call()?;
        injection.restore()?;
        Ok(result)
    }

    /// Makes a thread clone its process and returns the copy, which has
    /// run nothing and is the process's child.
    pub(crate) fn clone_directly(
        tools: Tools<'b>,
        thread: &Thread,
    ) -> Result<(Self, Pid), Failure> {
        let (mut injection, mut frames) = Self::new(tools, thread)?;
        let end = frames.call(injection.back, exit_group());
        let registers = frames.registers(injection.back, clone_copy(end));
        injection.put(frames, registers)?;
        let copy = injection.run_clone()?;
        Ok((injection, copy))
    }

    /// Makes a thread start a go-between in the same memory, which clones the process.
    /// Returns the copy, which has run nothing, and the go-between. When that has
    /// ended, the copy has no parent in the target.
    pub(crate) fn clone_by_go_between(
        tools: Tools<'b>,
        thread: &Thread,
    ) -> Result<(Self, Pid, GoBetween<'b>), Failure> {
        let (mut injection, mut frames) = Self::new(tools, thread)?;
        // The kernel writes the PID of the go-between into the first argument of this call.
        let wait = frames.call(injection.back, wait_for(0, 0));
        let number_at = Frames::first_argument(wait);
        let end = frames.call(injection.back, exit_group());
        let exit = [libc::SYS_exit.cast_unsigned(), 0, 0, 0, 0, 0];
        let between_end = frames.call(injection.back, exit);
        let between = frames.call(between_end, clone_copy(end));
        let registers = frames.registers(wait, clone_go_between(between, number_at));
        injection.put(frames, registers)?;
        let between = injection.run_clone()?;
        let mut between = GoBetween {
            tracee: Tracee::new(between.main_thread(), tools.bell),
            number_at,
        };
        between.tracee.wait()?;
        point();
        match between.tracee.run_to_event() {
            Ok(Stop::Event(libc::PTRACE_EVENT_CLONE)) => {
                let copy = child_of(between.tracee.tid)?;
                Ok((injection, copy, between))
            }
            // It ends if it can't make the copy, without reporting why.
            Err(Refusal::Ended) => {
                injection.take_note(number_at)?;
                Err(Failure::NoCopy(NoCopy::Clone(libc::EAGAIN)))
            }
            Ok(_) => Err(protocol().into()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Lets the go-between end and makes the thread reap it.
    pub(crate) fn see_off(&mut self, between: GoBetween<'b>) -> Result<(), Failure> {
        let number_at = between.number_at;
        between.end()?;
        self.take_note(number_at)
    }

    /// Makes the thread wait for the go-between, which has ended.
    fn take_note(&mut self, number_at: u64) -> Result<(), Failure> {
        let number = memory::read_exact(self.tools.pid, number_at).map_or(0, i32::from_le_bytes);
        // Only a positive PID names a single child.
        if number <= 0 {
            return Err(protocol().into());
        }
        self.tracee.run_to_return()?;
        point();
        let call = wait_for(number, 0);
        let registers = frames::for_call(&self.original, self.tools.code, self.back, call);
        ptrace::setregs(sys::traced(self.tracee.tid), registers)
            .map_err(ended_or(&Step::Copy.failed()))?;
        point();
        // If it were another process, a zombie would be left behind, which is no reason to give up.
        self.run_call()?;
        Ok(())
    }

    fn run_clone(&mut self) -> Result<Pid, Failure> {
        run_clone(&mut self.tracee)
    }

    /// Runs the system call that the registers lead to.
    fn run_call(&mut self) -> Result<i64, Failure> {
        for _ in 0..2 {
            expect(self.tracee.run_to_call()?, Stop::Call)?;
        }
        result(self.tracee.tid)
    }

    /// Restores the thread, from any stop after a system call.
    pub(crate) fn restore(&mut self) -> Result<(), Refusal> {
        if !self.is_changed {
            return Ok(());
        }
        self.is_changed = false;
        expect(self.tracee.run_to_return()?, Stop::Asked)?;
        point();
        // The order matters: until the registers are back, the frame restores the mask.
        let failed = Step::Copy.failed();
        let tid = self.tracee.tid;
        sys::set_signal_mask(tid, self.mask).map_err(ended_or(&failed))?;
        point();
        ptrace::setregs(sys::traced(tid), self.original).map_err(ended_or(&failed))?;
        point();
        Ok(())
    }
}

impl Drop for Injection<'_> {
    fn drop(&mut self) {
        // The caller has already reported why it gave up. If this fails,
        // the frames restore the thread.
        let _is_restored = self.restore();
        let held_back = self
            .tracee
            .held_back
            .and_then(|signal| Signal::try_from(signal).ok());
        if let Some(signal) = held_back {
            // Only SIGSTOP can be neither blocked nor fatal: it arrives a
            // little later than it was sent.
            let _is_there = kill(unistd::Pid::from_raw(self.tools.pid.as_raw()), signal);
        }
    }
}

/// The process that makes the copy and ends.
#[derive(Debug)]
pub(crate) struct GoBetween<'b> {
    tracee: Tracee<'b>,
    number_at: u64,
}

impl GoBetween<'_> {
    /// Lets it run until it ends.
    fn end(self) -> Result<(), Failure> {
        loop {
            sys::go_on(self.tracee.tid).map_err(ended_or(&Step::Copy.failed()))?;
            point();
            if self.tracee.wait()? == Stop::Ended {
                break;
            }
        }
        point();
        Ok(())
    }
}

/// Runs the clone that the registers lead to, and returns the child.
fn run_clone(tracee: &mut Tracee<'_>) -> Result<Pid, Failure> {
    expect(tracee.run_to_call()?, Stop::Call)?;
    match tracee.run_to_call()? {
        Stop::Event(libc::PTRACE_EVENT_CLONE) => child_of(tracee.tid),
        Stop::Call => {
            let errno = i32::try_from(-result(tracee.tid)?).unwrap_or(0);
            Err(Failure::NoCopy(NoCopy::Clone(errno)))
        }
        _ => Err(protocol().into()),
    }
}

/// Returns the process that a thread has just created.
fn child_of(tid: Tid) -> Result<Pid, Failure> {
    let child = ptrace::getevent(sys::traced(tid)).map_err(ended_or(&Step::Copy.failed()))?;
    let child = i32::try_from(child).map_err(|_| protocol())?;
    Ok(Pid::new(child))
}

fn result(tid: Tid) -> Result<i64, Failure> {
    let registers = ptrace::getregs(sys::traced(tid)).map_err(ended_or(&Step::Copy.failed()))?;
    Ok(registers.rax.cast_signed())
}

fn expect(stop: Stop, expected: Stop) -> Result<(), Refusal> {
    if stop == expected {
        Ok(())
    } else {
        Err(protocol())
    }
}

const fn protocol() -> Refusal {
    Refusal::System {
        step: Step::Copy,
        errno: libc::EPROTO,
    }
}

/// The flags of the copy. It shares the target's descriptor table, so it keeps nothing open that
/// the target closes. No signal reports its end.
const COPY_FLAGS: i32 = libc::CLONE_FILES;
/// The flags of a process that has nothing of its own.
const GO_BETWEEN_FLAGS: i32 =
    libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_PARENT_SETTID;

fn clone_copy(stack: u64) -> [u64; 6] {
    let number = libc::SYS_clone.cast_unsigned();
    [number, COPY_FLAGS as u64, stack, 0, 0, 0]
}

fn clone_go_between(stack: u64, number_at: u64) -> [u64; 6] {
    let number = libc::SYS_clone.cast_unsigned();
    [number, GO_BETWEEN_FLAGS as u64, stack, number_at, 0, 0]
}

fn exit_group() -> [u64; 6] {
    [libc::SYS_exit_group.cast_unsigned(), 0, 0, 0, 0, 0]
}

/// Returns a call that waits for a child of any kind.
pub(crate) fn wait_for(child: i32, flags: i32) -> [u64; 6] {
    let number = libc::SYS_wait4.cast_unsigned();
    let flags = libc::__WALL | flags;
    [number, child.cast_unsigned().into(), 0, flags as u64, 0, 0]
}

/// Returns all system calls that may be injected, to check whether a seccomp
/// filter allows them: each with arguments as they may be for this stack, and with
/// the address after its `syscall` instruction.
pub(crate) fn calls(code: Code, stack: u64) -> [([u64; 6], u64); 7] {
    let number = |number: i64| [number.cast_unsigned(), 0, 0, 0, 0, 0];
    let behind = code.call + 2;
    [
        (clone_copy(stack), behind),
        (clone_go_between(stack, stack), behind),
        (wait_for(1, 0), behind),
        (wait_for(1, libc::WNOHANG), behind),
        (number(libc::SYS_exit), behind),
        (exit_group(), behind),
        (number(libc::SYS_rt_sigreturn), code.behind_restore),
    ]
}
