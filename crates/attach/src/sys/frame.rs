//! Finds the size of the register state in a signal frame on this machine.

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::errno::Errno;

/// The offset at which `fxsave64` leaves room for the kernel's own words, and the magic number
/// there if the state of more components follows.
const SOFTWARE_WORDS: usize = 464;
const MAGIC: u32 = 0x4650_5853;
/// The offset from the magic number to the size of the state without the end marker.
const SIZE: usize = 16;

static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Returns how many bytes the kernel puts into the frame of a process that has requested
/// no further components; 0 if only those of `fxsave64`. Ptrace may show more: all that
/// a process could request. Raises a signal and looks at its frame, so the calling
/// process must not use SIGUSR1 for anything else.
pub(crate) fn frame_size() -> nix::Result<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid `sigaction`, which is plain numbers; the handler has the signature
    // that SA_SIGINFO requires, and it only reads its frame and stores to an atomic.
    let result = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = look as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGUSR1, action, std::ptr::null_mut())
    };
    Errno::result(result)?;
    // SAFETY: the call takes only a number.
    Errno::result(unsafe { libc::raise(libc::SIGUSR1) })?;
    Ok(FOUND.load(Ordering::Relaxed))
}

extern "C" fn look(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the kernel's `ucontext_t`, and
    // on x86_64 its `fpregs` points to at least the 512 bytes of `fxsave64` in the
    // same frame, which contain the words read here.
    unsafe {
        let state = (*context.cast::<libc::ucontext_t>())
            .uc_mcontext
            .fpregs
            .cast::<u8>();
        let words = state.add(SOFTWARE_WORDS);
        if words.cast::<u32>().read_unaligned() == MAGIC {
            let size = words.add(SIZE).cast::<u32>().read_unaligned();
            FOUND.store(size as usize, Ordering::Relaxed);
        }
    }
}
