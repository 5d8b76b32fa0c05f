//! The signal handlers of the copy. They run in a process that has one thread and is thrown away.
//!
//! They use atomics, the interrupted registers, and system calls by way of `syscall` only.
#![expect(unsafe_code, reason = "signal context, sigaction")]

use std::{
    arch::naked_asm,
    ffi::{c_int, c_void},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use libc::{siginfo_t, ucontext_t};

use super::{
    GiveUp, Status, guard,
    syscall::{Nanos, exit, syscall},
};

/// When the copy ends, whatever it is doing.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// The processor time between two ticks.
const TICK_US: usize = 10_000;

/// The size of the stack that handlers run on.
const STACK: usize = 128 << 10;

/// As the kernel takes it.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;
const SET_SIZE: usize = 8;

/// Replaces all handlers of the process but that of SIGTRAP, and unblocks all signals.
pub(super) fn install(deadline: Nanos) -> Option<()> {
    DEADLINE.store(deadline.0, Relaxed);
    let stack = libc::stack_t {
        ss_sp: std::ptr::with_exposed_provenance_mut(super::map_pages(STACK)?),
        ss_flags: 0,
        ss_size: STACK,
    };
    // SAFETY: the stack is new memory that stays as long as the copy lives; handlers, masks and timers
    // are those of a process that is ours alone.
    unsafe {
        syscall(
            libc::SYS_sigaltstack,
            (&raw const stack).addr(),
            0,
            0,
            0,
            0,
            0,
        );
        for signal in 1..=64 {
            if !matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGTRAP) {
                let action = action(signal);
                let action = (&raw const action).addr();
                syscall(
                    libc::SYS_rt_sigaction,
                    signal as usize,
                    action,
                    0,
                    SET_SIZE,
                    0,
                    0,
                );
            }
        }
        let none = 0_u64;
        syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK as usize,
            (&raw const none).addr(),
            0,
            SET_SIZE,
            0,
            0,
        );
    }
    Some(())
}

/// Has the clock tick, for this process only.
pub(super) fn start_clock() {
    let tick = [0, TICK_US, 0, TICK_US];
    let timer = libc::ITIMER_PROF as usize;
    // SAFETY: reads the two intervals, each of seconds and microseconds.
    unsafe { syscall(libc::SYS_setitimer, timer, tick.as_ptr().addr(), 0, 0, 0, 0) };
}

/// Has a wait be interrupted now and then, to look how those get on that are waited for.
pub(super) fn start_alarms() {
    let each = [0, ALARM_US, 0, ALARM_US];
    let timer = libc::ITIMER_REAL as usize;
    // SAFETY: as above.
    unsafe { syscall(libc::SYS_setitimer, timer, each.as_ptr().addr(), 0, 0, 0, 0) };
}

/// The time between two alarms, and how many there are before somebody is given up.
const ALARM_US: usize = 200_000;
pub(super) const ALARMS_WITHOUT_PROGRESS: u32 = 50;

fn action(signal: c_int) -> Action {
    let handler = match signal {
        libc::SIGSYS => on_system_call as *const () as usize,
        libc::SIGPROF => on_tick as *const () as usize,
        libc::SIGALRM => on_alarm as *const () as usize,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGABRT => {
            on_fault as *const () as usize
        }
        libc::SIGCHLD => libc::SIG_DFL,
        _ => libc::SIG_IGN,
    };
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    Action {
        handler,
        flags: flags as u64 | SA_RESTORER,
        restorer: restore as *const () as usize,
        mask: 1 << (libc::SIGPROF - 1),
    }
}

#[unsafe(naked)]
unsafe extern "sysv64" fn restore() {
    naked_asm!("mov eax, 15", "syscall", "ud2")
}

extern "C" fn on_fault(signal: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext_t, which is ours to change until we return.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    let why = match signal {
        libc::SIGABRT => GiveUp::Exit,
        _ => GiveUp::Fault,
    };
    if !guard::give_up(context, why) {
        exit(Status::Crashed as i32);
    }
}

extern "C" fn on_tick(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    if Nanos::now().0 > DEADLINE.load(Relaxed) {
        exit(Status::NoTime as i32);
    }
    if guard::base().is_some() && guard::has_had_its_time() {
        // SAFETY: as above.
        guard::give_up(
            unsafe { &mut *context.cast::<ucontext_t>() },
            GiveUp::Endless,
        );
    }
}

/// Interrupts a system call, as it is not started again.
extern "C" fn on_alarm(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

/// Answers a system call that is not made.
extern "C" fn on_system_call(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: as above.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    // SAFETY: with SIGSYS, the kernel writes the address, the number of the call and the architecture
    // behind the head of 16 bytes.
    let number = unsafe { info.cast::<u8>().add(24).cast::<c_int>().read() };
    let number = libc::c_long::from(number);
    match answer(number, context) {
        Ok(_) if guard::is_repeated(number, guard::register(context, libc::REG_RIP)) => {
            let why = match number {
                libc::SYS_sched_yield | libc::SYS_nanosleep | libc::SYS_clock_nanosleep => {
                    GiveUp::Locked
                }
                _ => GiveUp::SystemCall,
            };
            if !guard::give_up(context, why) {
                exit(Status::Crashed as i32);
            }
        }
        Ok(result) => guard::set(context, libc::REG_RAX, result),
        Err(why) => {
            if !guard::give_up(context, why) {
                guard::set(context, libc::REG_RAX, -i64::from(libc::EPERM));
            }
        }
    }
}

/// What such a call returns to a poll, so that it ends as if nothing were ready; or why there is no
/// way to go on.
fn answer(number: libc::c_long, context: &ucontext_t) -> Result<i64, GiveUp> {
    let later = -i64::from(libc::EAGAIN);
    Ok(match number {
        libc::SYS_futex => {
            let operation = guard::register(context, libc::REG_RSI) as c_int;
            match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
                libc::FUTEX_WAIT
                | libc::FUTEX_WAIT_BITSET
                | libc::FUTEX_LOCK_PI
                | libc::FUTEX_WAIT_REQUEUE_PI => return Err(GiveUp::Locked),
                _ => 0,
            }
        }
        libc::SYS_exit
        | libc::SYS_exit_group
        | libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_tgkill => return Err(GiveUp::Exit),
        // The counter of an eventfd, whose writer takes anything else for a reason to try again.
        libc::SYS_write if guard::register(context, libc::REG_RDX) == 8 => 8,
        libc::SYS_read
        | libc::SYS_write
        | libc::SYS_readv
        | libc::SYS_writev
        | libc::SYS_recvfrom
        | libc::SYS_sendto
        | libc::SYS_recvmsg
        | libc::SYS_sendmsg
        | libc::SYS_recvmmsg
        | libc::SYS_sendmmsg
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_clone
        | libc::SYS_clone3
        | libc::SYS_fork
        | libc::SYS_vfork => later,
        libc::SYS_close
        | libc::SYS_shutdown
        | libc::SYS_epoll_ctl
        | libc::SYS_sched_yield
        | libc::SYS_nanosleep
        | libc::SYS_clock_nanosleep => 0,
        libc::SYS_mmap | libc::SYS_mremap | libc::SYS_mprotect => -i64::from(libc::ENOMEM),
        _ => -i64::from(libc::ENOSYS),
    })
}
