//! The signal handler: a thread copies its own registers and stack into a slot.
//!
//! It runs at any instruction of any thread, with any lock held. It doesn't
//! allocate, lock, unwind, panic, or use thread-local variables, apart from
//! errno, which it saves and restores. It calls only:
//!
//! - `slot::claim` and the methods of `Claim`: atomics
//! - `MapTable::find`: a binary search in memory that isn't changed
//!   or freed while a slot is claimed
//! - `memcpy`, by `copy_nonoverlapping`
//! - `__errno_location`, and the system calls `gettid`, `futex` (wake), `process_vm_readv`
//! - for a signal that isn't ours: `rt_sigprocmask` and the former handler; or, if that was
//!   SIG_DFL for a signal that ends the process, `signal` and `raise`
#![expect(
    unsafe_code,
    reason = "signal context, raw registers and raw stack memory"
)]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use libc::{siginfo_t, ucontext_t};

use super::{
    maps::MappingKind,
    signal::{current_tid, former, pid},
};
use rtops_types::StackRegisters;

use crate::slot::{self, Claim, Cookie, Extent};

/// Returns the address of the handler, as sigaction takes and returns it.
pub(super) fn address() -> libc::sighandler_t {
    on_signal as *const () as libc::sighandler_t
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: errno's location is valid in every thread.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO.
    match our_cookie(unsafe { &*info }) {
        Some(cookie) => {
            // A stale cookie is a late answer to a capture that gave up.
            if let Some(claim) = slot::claim(cookie, current_tid()) {
                // SAFETY: likewise a valid ucontext_t.
                answer(claim, unsafe { &*context.cast::<ucontext_t>() });
            }
        }
        None => chain(signal, info, context),
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn our_cookie(info: &siginfo_t) -> Option<Cookie> {
    if info.si_code != libc::SI_QUEUE {
        return None;
    }
    // SAFETY: with SI_QUEUE, sender and value are set.
    let (sender, value) = unsafe { (info.si_pid(), info.si_value()) };
    if sender != pid() {
        return None;
    }
    Cookie::from_raw(value.sival_ptr.addr() as u64)
}

fn answer(claim: Claim, context: &ucontext_t) {
    let machine = &context.uc_mcontext.gregs;
    let register = |index: c_int| -> u64 {
        usize::try_from(index)
            .ok()
            .and_then(|index| machine.get(index))
            .map_or(0, |&r| r as u64)
    };
    let registers = StackRegisters {
        ip: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        bp: register(libc::REG_RBP),
    };
    let sp = registers.sp;
    let (len, extent) = match stack_end(&claim, context, sp) {
        None => (0, Extent::UnknownStack),
        Some(end) => {
            let available = end.address.saturating_sub(sp);
            let len = available.min(claim.capacity() as u64);
            let extent = if len < available {
                Extent::Capped
            } else {
                Extent::Whole
            };
            match copy(&claim, sp, len as usize, end.access) {
                Some(copied) => (copied, extent),
                None => (0, Extent::UnknownStack),
            }
        }
    };
    claim.publish(registers, len, extent);
}

struct StackEnd {
    address: u64,
    access: Access,
}

/// How a stack may be read.
enum Access {
    /// It is this thread's own, and stays mapped as long as the thread runs on it.
    Direct,
    /// Something else manages this memory (a coroutine's stack). What lies next to it may be
    /// unmapped during the read, so the kernel has to do it.
    ByKernel,
}

fn stack_end(claim: &Claim, context: &ucontext_t, sp: u64) -> Option<StackEnd> {
    let direct = |address| {
        Some(StackEnd {
            address,
            access: Access::Direct,
        })
    };
    let alternate = &context.uc_stack;
    let alternate_start = alternate.ss_sp.addr() as u64;
    let alternate_end = alternate_start.saturating_add(alternate.ss_size as u64);
    if alternate.ss_flags & libc::SS_DISABLE == 0 && (alternate_start..alternate_end).contains(&sp)
    {
        return direct(alternate_end);
    }
    let mapping = claim.maps()?.find(sp)?;
    let thread_pointer = thread_pointer();
    if sp < thread_pointer && thread_pointer < mapping.end {
        return direct(thread_pointer);
    }
    match mapping.kind {
        MappingKind::MainStack => direct(mapping.end),
        MappingKind::Other => Some(StackEnd {
            address: mapping.end,
            access: Access::ByKernel,
        }),
    }
}

/// Copies `len` bytes at `sp`, or fewer; `None` if they can't be read.
fn copy(claim: &Claim, sp: u64, len: usize, access: Access) -> Option<usize> {
    let from = ptr::with_exposed_provenance_mut::<c_void>(usize::try_from(sp).ok()?);
    let to: *mut c_void = claim.destination().cast();
    match access {
        Access::Direct => {
            // SAFETY: `sp..sp + len` lies in this thread's own stack, which is mapped while this
            // thread is interrupted on it. `to` has room for `capacity() >= len` bytes, which
            // belong to the claim alone, and isn't part of any stack.
            unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), len) };
            Some(len)
        }
        Access::ByKernel => {
            let local = libc::iovec {
                iov_base: to,
                iov_len: len,
            };
            let remote = libc::iovec {
                iov_base: from,
                iov_len: len,
            };
            // SAFETY: as above for `to`; memory that isn't readable yields an error, not a fault.
            let copied = unsafe {
                libc::process_vm_readv(pid(), &raw const local, 1, &raw const remote, 1, 0)
            };
            usize::try_from(copied).ok()
        }
    }
}

/// Returns the thread pointer. With pthreads, it points after the
/// thread's stack and its static TLS.
fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the ABI stores the thread pointer itself at %fs:0 in every thread.
    unsafe {
        std::arch::asm!(
            "mov {}, qword ptr fs:[0]",
            out(reg) pointer,
            options(nostack, readonly, preserves_flags)
        );
    }
    pointer
}

/// Does what would have happened without us.
fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(former) = former() else {
        return;
    };
    match former.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL if signal == libc::SIGURG => {}
        libc::SIG_DFL => {
            // SAFETY: both are async-signal-safe. The signal is blocked until this handler returns,
            // and then ends the process, as it would have.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        handler => {
            restore_mask(signal, former, context);
            if former.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: this address was installed as a handler of this form.
                let handler = unsafe {
                    std::mem::transmute::<
                        libc::sighandler_t,
                        extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                    >(handler)
                };
                handler(signal, info, context);
            } else {
                // SAFETY: likewise, of the form without SA_SIGINFO.
                let handler = unsafe {
                    std::mem::transmute::<libc::sighandler_t, extern "C" fn(c_int)>(handler)
                };
                handler(signal);
            }
        }
    }
}

/// Sets the mask that the former handler would run under: that of the
/// interrupted code, its own, and its signal.
fn restore_mask(signal: c_int, former: &libc::sigaction, context: *mut c_void) {
    // SAFETY: the kernel passed a valid ucontext_t. Its mask has only the kernel's 8
    // bytes, hence the raw call below, which reads no more. The mask of the interrupted
    // code is restored when the handler returns.
    unsafe {
        let mut mask = (&raw const (*context.cast::<ucontext_t>()).uc_sigmask)
            .cast::<u64>()
            .read();
        mask |= (&raw const former.sa_mask).cast::<u64>().read();
        if former.sa_flags & libc::SA_NODEFER == 0 {
            mask |= 1 << (signal - 1);
        }
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        );
    }
}
