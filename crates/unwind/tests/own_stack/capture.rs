//! Copies the calling thread's own stack, as a signal handler would,
//! and runs libgcc's unwinder for comparison.
#![expect(unsafe_code, reason = "registers, stack memory and libgcc's unwinder")]

use std::{
    ffi::{c_int, c_void},
    hint::black_box,
};

use rtops_unwind::{StackRegisters, StackSlice};

/// A copied stack, and the result of libgcc's unwinder.
pub struct Captured {
    pub registers: StackRegisters,
    pub bytes: Vec<u8>,
    /// The return addresses of the callers of `capture`, innermost first, up to the root.
    pub callers: Vec<u64>,
}

impl Captured {
    pub fn slice(&self) -> StackSlice<'_> {
        StackSlice {
            registers: self.registers,
            bytes: &self.bytes,
        }
    }
}

/// Copies everything from the stack pointer to the end of this thread's stack.
#[inline(never)]
pub fn capture() -> Captured {
    let (ip, sp, bp): (u64, u64, u64);
    // SAFETY: reads three registers.
    unsafe {
        std::arch::asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) ip, out(reg) sp,
            out(reg) bp, options(nomem, nostack, preserves_flags));
    }
    let len = usize::try_from(stack_end() - sp).expect("the stack pointer is in the stack");
    let mut bytes = vec![0; len];
    let from = std::ptr::with_exposed_provenance::<u8>(sp as usize);
    // SAFETY: from the stack pointer to the end of the stack is mapped memory of this thread.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len) };
    let frames = black_box(libgcc_frames());
    // The frames of `libgcc_frames` and of this function come first.
    let callers = frames.get(2..).expect("at least two frames").to_vec();
    Captured {
        registers: StackRegisters { ip, sp, bp },
        bytes,
        callers,
    }
}

fn stack_end() -> u64 {
    // SAFETY: the attributes are initialized by pthread_getattr_np
    // before they are read and destroyed.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(
            libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes),
            0
        );
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        assert_eq!(
            libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size),
            0
        );
        libc::pthread_attr_destroy(&raw mut attributes);
        start.addr() as u64 + size as u64
    }
}

#[inline(never)]
fn libgcc_frames() -> Vec<u64> {
    let mut frames = Vec::new();
    // SAFETY: the callback expects the vector it gets.
    unsafe { _Unwind_Backtrace(push_frame, (&raw mut frames).cast()) };
    frames.retain(|&address| address != 0);
    frames
}

extern "C" fn push_frame(context: *mut c_void, frames: *mut c_void) -> c_int {
    // SAFETY: libgcc passes its context, and `libgcc_frames` passes the vector.
    unsafe { (*frames.cast::<Vec<u64>>()).push(_Unwind_GetIP(context)) };
    0
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> u64;
}
