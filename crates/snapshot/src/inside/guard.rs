//! Calls that can be left from a signal handler.
#![expect(unsafe_code, reason = "calls with a way out that is not a return")]

use std::{
    arch::naked_asm,
    sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use libc::ucontext_t;

use super::GiveUp;

/// The stack pointer inside of `call`; 0 while nothing is guarded.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Of the present call: how often the clock ticked, how often it may, which system call was
/// refused last, from where, and how often in a row.
static TICKS: AtomicU32 = AtomicU32::new(0);
static MAX_TICKS: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicI64 = AtomicI64::new(-1);
static REFUSED_AT: AtomicUsize = AtomicUsize::new(0);
static REFUSALS: AtomicU32 = AtomicU32::new(0);

/// A call that is refused so often in a row is made in a loop.
const MAX_REFUSALS: u32 = 64;

/// Calls `function(argument)` and comes back when it returns, or when a handler gives it up.
///
/// # Safety
/// `function` takes one argument in the C or Rust convention and returns nothing. All that it may
/// leave behind is a process that is thrown away: if it is given up, its frames vanish without
/// running the destructors in them.
pub(super) unsafe fn guarded(function: usize, argument: usize, ticks: u32) -> Result<(), GiveUp> {
    TICKS.store(0, Relaxed);
    MAX_TICKS.store(ticks, Relaxed);
    REFUSED.store(-1, Relaxed);
    REFUSALS.store(0, Relaxed);
    // SAFETY: passed on to the caller.
    let code = unsafe { call(function, argument) };
    INSIDE.store(0, Relaxed);
    match code {
        0 => Ok(()),
        code => Err(GiveUp::from_code(code as u64)),
    }
}

#[unsafe(naked)]
unsafe extern "sysv64" fn call(function: usize, argument: usize) -> usize {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov qword ptr [rip + {inside}], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        "jmp {landing}",
        inside = sym INSIDE,
        landing = sym landing,
    )
}

/// How a call ends: with the stack pointer where it was inside of `call`, and in `rax` 0, or the reason
/// why it was given up. Jumped to, never called.
#[unsafe(naked)]
unsafe extern "sysv64" fn landing() -> usize {
    naked_asm!(
        "mov rsp, qword ptr [rip + {inside}]",
        "cld",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        inside = sym INSIDE,
    )
}

/// What panics go to instead of the unwinder: gives the call up.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn on_unwind() {
    naked_asm!(
        "cmp qword ptr [rip + {inside}], 0",
        "je 2f",
        "mov eax, {panic}",
        "jmp {landing}",
        "2:",
        "ud2",
        inside = sym INSIDE,
        landing = sym landing,
        panic = const GiveUp::Panic.code(),
    )
}

/// The stack pointer below which all belongs to the present call, while there is one.
pub(super) fn base() -> Option<usize> {
    Some(INSIDE.load(Relaxed)).filter(|base| *base != 0)
}

/// Has the call that was interrupted end with this reason. Whether there was one. Runs in handlers.
pub(super) fn give_up(context: &mut ucontext_t, why: GiveUp) -> bool {
    const TRAP_AND_DIRECTION: i64 = 0x500;
    if base().is_none() {
        return false;
    }
    set(context, libc::REG_RIP, landing as *const () as i64);
    set(context, libc::REG_RAX, i64::from(why.code()));
    let flags = register(context, libc::REG_EFL) & !TRAP_AND_DIRECTION;
    set(context, libc::REG_EFL, flags);
    true
}

/// Counts a tick of the clock; whether the call has had enough of them. Runs in a handler.
pub(super) fn has_had_its_time() -> bool {
    TICKS.fetch_add(1, Relaxed) >= MAX_TICKS.load(Relaxed)
}

/// Counts a refused system call; whether it is made in a loop. Runs in a handler.
pub(super) fn is_repeated(number: i64, ip: i64) -> bool {
    let same_number = REFUSED.swap(number, Relaxed) == number;
    let same_place = REFUSED_AT.swap(ip as usize, Relaxed) == ip as usize;
    let before = if same_number && same_place {
        REFUSALS.load(Relaxed)
    } else {
        0
    };
    REFUSALS.store(before + 1, Relaxed);
    before >= MAX_REFUSALS
}

pub(super) fn register(context: &ucontext_t, index: libc::c_int) -> i64 {
    let index = usize::try_from(index).ok();
    let value = index.and_then(|index| context.uc_mcontext.gregs.get(index));
    value.copied().unwrap_or(0)
}

pub(super) fn set(context: &mut ucontext_t, index: libc::c_int, value: i64) {
    let index = usize::try_from(index).ok();
    if let Some(place) = index.and_then(|index| context.uc_mcontext.gregs.get_mut(index)) {
        *place = value;
    }
}

/// Calls `function(argument)` with the stack pointer at `top`, and comes back.
///
/// # Safety
/// `top` is 16-byte aligned, with enough memory below it for all that the function does.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn on_stack(
    top: usize,
    function: unsafe extern "sysv64" fn(usize),
    argument: usize,
) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
    )
}
