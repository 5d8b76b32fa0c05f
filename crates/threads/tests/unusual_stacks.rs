//! Tests threads that are on a stack other than their own.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "alternate and hand-made stacks")]

mod common;

use std::{
    ffi::c_int,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use common::{Worker, capture, in_function, wait_until};
use rtops_threads::Tid;
use rtops_unwind::{StackSlice, Unwinder};

const STACK_LEN: usize = 64 << 10;
static RELEASED: AtomicBool = AtomicBool::new(false);

/// Makes a mapping with an inaccessible page on both sides, which lives
/// until the end of the process.
fn new_stack() -> Range<u64> {
    const PAGE: usize = 4096;
    // SAFETY: a new mapping, whose inner part is made accessible.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let len = STACK_LEN + 2 * PAGE;
        let start = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        let start = start.byte_add(PAGE);
        assert_eq!(
            libc::mprotect(start, STACK_LEN, libc::PROT_READ | libc::PROT_WRITE),
            0
        );
        start.addr() as u64..(start.addr() + STACK_LEN) as u64
    }
}

#[inline(never)]
extern "C" fn spin() {
    while !RELEASED.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

extern "C" fn spin_in_handler(_: c_int) {
    spin();
}

/// Captures `tid` until it is on `stack`, and checks where the copy ends.
fn check_copy(tid: Tid, stack: &Range<u64>) {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    wait_until("the thread is on the other stack", || {
        let copy = capture(tid).unwrap();
        if !stack.contains(&copy.registers.sp) {
            return false;
        }
        assert_eq!(copy.registers.sp + copy.bytes.len() as u64, stack.end);
        assert!(!copy.truncated);
        let slice = StackSlice {
            registers: copy.registers,
            bytes: &copy.bytes,
        };
        let mut frames = Vec::new();
        unwinder.unwind(&slice, None, &mut frames);
        frames
            .iter()
            .any(|&at| in_function(spin as *const () as usize, at))
    });
}

#[test]
fn a_copy_ends_where_the_other_stack_ends() {
    // Only a part of its mapping, which therefore doesn't show where the stack ends.
    let alternate = new_stack();
    let alternate = alternate.start..alternate.end - STACK_LEN as u64 / 2;
    let in_handler = {
        let stack = alternate.clone();
        Worker::spawn(move |_| raise_on(&stack))
    };
    let coroutine = new_stack();
    let on_coroutine = {
        let stack = coroutine.clone();
        Worker::spawn(move |_| call_on(&stack))
    };
    // Dropped before the threads are joined, even if a check fails.
    let _release = Release;
    check_copy(in_handler.tid, &alternate);
    check_copy(on_coroutine.tid, &coroutine);
}

struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        RELEASED.store(true, Ordering::Relaxed);
    }
}

/// Runs `spin` in a signal handler on this alternate stack.
fn raise_on(stack: &Range<u64>) {
    let alternate = libc::stack_t {
        ss_sp: std::ptr::with_exposed_provenance_mut(stack.start as usize),
        ss_flags: 0,
        ss_size: usize::try_from(stack.end - stack.start).unwrap(),
    };
    // SAFETY: the stack is never unmapped; the handler only spins.
    unsafe {
        assert_eq!(
            libc::sigaltstack(&raw const alternate, std::ptr::null_mut()),
            0
        );
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = spin_in_handler as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()),
            0
        );
        libc::raise(libc::SIGUSR2);
    }
}

/// Calls `spin` on this stack, as a coroutine library does.
fn call_on(stack: &Range<u64>) {
    // SAFETY: the stack is mapped and its end aligned to 16; the old stack pointer is kept in a
    // register that the callee preserves.
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {stack}",
            "call {spin}",
            "mov rsp, r12",
            stack = in(reg) stack.end,
            spin = in(reg) spin as *const (),
            out("r12") _,
            clobber_abi("C"),
        );
    }
}
