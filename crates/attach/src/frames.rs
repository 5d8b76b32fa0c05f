//! Signal frames that make a thread run system calls one after the other and then resume as it was.
//!
//! A frame follows the address of the code that returns from a signal handler, so a `ret` with the
//! stack pointer there sets all registers and the signal mask from the frame. The registers of a
//! frame in turn lead to `syscall; ret` with the stack pointer at the next frame. The chain
//! therefore runs to its end even if the process that set it up is gone.

use libc::user_regs_struct;

use crate::code::Code;

/// `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND`, `ERESTART_RESTARTBLOCK`: the kernel's values
/// in `rax` if a system call is to be restarted.
const REPEATED: [i64; 4] = [-512, -513, -514, -516];
/// The offset in an `xsave` state at which `fxsave64` leaves room for the kernel's own words.
const SOFTWARE_WORDS: usize = 464;
/// The offset of the bits that say which components are in use.
const IN_USE: usize = 512;
/// The least size of a state that has more than `fxsave64`.
const LEAST_EXTENDED: usize = 576;
const MAGIC: u32 = 0x4650_5853;
const END_MAGIC: u32 = 0x4650_5845;
/// The components that a process has to request: the AMX tiles.
const TO_BE_ASKED_FOR: u64 = 0b11 << 17;
/// The bytes below the stack pointer that functions may use.
const RED_ZONE: u64 = 128;
/// The offset of `rdi` in a frame, counted from the return address: `uc_flags`, `uc_link`, the
/// three words of `uc_stack`, then the registers from `r8` on, of which `rdi` is the ninth.
const FIRST_ARGUMENT: u64 = 8 + 5 * 8 + 8 * 8;

/// The number of a system call and up to five arguments.
pub(crate) type Call = [u64; 6];

/// A signal mask that blocks everything.
pub(crate) const ALL_SIGNALS: u64 = !0;

/// Builds frames downward from the unused end of a thread's stack.
#[derive(Debug)]
pub(crate) struct Frames {
    code: Code,
    original: user_regs_struct,
    pieces: Vec<(u64, Vec<u8>)>,
    low: u64,
}

/// Returns the registers with which a thread makes a system call and
/// then continues at the frame at `next`.
pub(crate) fn for_call(
    original: &user_regs_struct,
    code: Code,
    next: u64,
    call: Call,
) -> user_regs_struct {
    let mut registers = *original;
    registers.rip = code.call;
    registers.rsp = next;
    // The thread is in no system call that could be restarted.
    registers.orig_rax = u64::MAX;
    [
        registers.rax,
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
    ] = call;
    registers
}

impl Frames {
    /// Starts with the frame that resumes the thread as if nothing had happened. Returns the
    /// address of that frame, which serves as the stack pointer for other frames and for calls.
    pub(crate) fn new(
        code: Code,
        original: &user_regs_struct,
        mask: u64,
        xstate: &[u8],
        frame_size: usize,
    ) -> Option<(Self, u64)> {
        let state = state_of_frame(xstate, frame_size)?;
        let top = original.rsp.checked_sub(RED_ZONE + state.len() as u64)? & !63;
        let mut frames = Self {
            code,
            original: *original,
            pieces: vec![(top, state)],
            low: top,
        };
        let back = frames.put(&as_repeated(original), mask, top);
        Some((frames, back))
    }

    /// Returns the registers for a system call that continues at the frame at `next`.
    pub(crate) fn registers(&self, next: u64, call: Call) -> user_regs_struct {
        for_call(&self.original, self.code, next, call)
    }

    /// Adds a frame that makes a system call and continues at the frame at `next`.
    pub(crate) fn call(&mut self, next: u64, call: Call) -> u64 {
        let registers = self.registers(next, call);
        self.put(&registers, ALL_SIGNALS, 0)
    }

    /// Returns the address of the first argument of a frame's call.
    pub(crate) const fn first_argument(frame: u64) -> u64 {
        frame + FIRST_ARGUMENT
    }

    fn put(&mut self, registers: &user_regs_struct, mask: u64, state: u64) -> u64 {
        let mut bytes = self.code.restore.to_le_bytes().to_vec();
        let words = frame(registers, mask, state);
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.low = (self.low.saturating_sub(bytes.len() as u64)) & !15;
        self.pieces.push((self.low, bytes));
        self.low
    }

    /// Returns the address and bytes of everything that has to be on the stack.
    pub(crate) fn finish(self) -> (u64, Vec<u8>) {
        let length = (self.original.rsp - RED_ZONE).saturating_sub(self.low);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        for (at, piece) in self.pieces {
            let start = usize::try_from(at - self.low).unwrap_or(usize::MAX);
            if let Some(place) = start
                .checked_add(piece.len())
                .and_then(|end| bytes.get_mut(start..end))
            {
                place.copy_from_slice(&piece);
            }
        }
        (self.low, bytes)
    }
}

/// Builds the kernel's `ucontext`, up to the signal mask.
fn frame(registers: &user_regs_struct, mask: u64, state: u64) -> Vec<u64> {
    /// `UC_FP_XSTATE`: the state has more than `fxsave64`.
    const EXTENDED: u64 = 1;
    /// `UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`: `ss` is valid and is restored as it is.
    const STACK_SEGMENT: u64 = 2 | 4;
    /// Flags of an alternate stack that the kernel does not know, so it
    /// leaves the thread's unchanged.
    const NO_STACK: u64 = 0x7fff_ff00;
    let flags = if state == 0 {
        STACK_SEGMENT
    } else {
        STACK_SEGMENT | EXTENDED
    };
    let r = registers;
    let segments = r.cs & 0xffff | (r.ss & 0xffff) << 48;
    let mut words = vec![
        flags, 0, 0, NO_STACK, 0, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi,
        r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp, r.rip, r.eflags, segments, 0, 0, 0, 0,
        state,
    ];
    words.extend([0; 8]);
    words.push(mask);
    words
}

/// Returns the registers as the kernel sets them up to restart a system call: returning from a
/// signal handler does not do so.
fn as_repeated(registers: &user_regs_struct) -> user_regs_struct {
    let mut registers = *registers;
    let is_in_call = registers.orig_rax.cast_signed() >= 0;
    if is_in_call && is_repeated(registers.rax) {
        registers.rax = registers.orig_rax;
        registers.rip = registers.rip.wrapping_sub(2);
    }
    registers
}

/// Returns whether a system call with this result is to be restarted.
pub(crate) fn is_repeated(result: u64) -> bool {
    REPEATED.contains(&result.cast_signed())
}

/// Converts a state from ptrace's layout to that of a signal frame. With AMX, ptrace shows a larger
/// state than the frame of a process that has not requested it.
fn state_of_frame(xstate: &[u8], frame_size: usize) -> Option<Vec<u8>> {
    let mut state = xstate.to_vec();
    let word =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(*xstate.get(at..)?.first_chunk()?)) };
    if state.len() < LEAST_EXTENDED {
        return (state.len() >= IN_USE).then_some(state);
    }
    let (features, in_use) = (word(SOFTWARE_WORDS)?, word(IN_USE)?);
    let is_default =
        (LEAST_EXTENDED..state.len()).contains(&frame_size) && in_use & TO_BE_ASKED_FOR == 0;
    let (size, features) = if is_default {
        (frame_size, features & !TO_BE_ASKED_FOR)
    } else {
        (state.len(), features)
    };
    if is_default {
        // For a process that has requested it, the kernel looks for the end marker after the full
        // size, so the marker is written in both places.
        let end = state.get_mut(size..size + 4)?;
        end.copy_from_slice(&END_MAGIC.to_le_bytes());
    }
    let size = u32::try_from(size).ok()?;
    let mut words = Vec::with_capacity(IN_USE - SOFTWARE_WORDS);
    words.extend(MAGIC.to_le_bytes());
    words.extend((size + 4).to_le_bytes());
    words.extend(features.to_le_bytes());
    words.extend(size.to_le_bytes());
    words.resize(IN_USE - SOFTWARE_WORDS, 0);
    state
        .get_mut(SOFTWARE_WORDS..IN_USE)?
        .copy_from_slice(&words);
    state.extend(END_MAGIC.to_le_bytes());
    Some(state)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn registers() -> user_regs_struct {
        user_regs_struct {
            r15: 15,
            r14: 14,
            r13: 13,
            r12: 12,
            rbp: 5,
            rbx: 3,
            r11: 11,
            r10: 10,
            r9: 9,
            r8: 8,
            rax: -512_i64 as u64,
            rcx: 1,
            rdx: 2,
            rsi: 6,
            rdi: 7,
            orig_rax: 202,
            rip: 0x1002,
            cs: 0x33,
            eflags: 0x246,
            rsp: 0x7000_0000,
            ss: 0x2b,
            fs_base: 0,
            gs_base: 0,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        }
    }

    fn xstate(size: usize, in_use: u64) -> Vec<u8> {
        let mut state = vec![0; size];
        state[SOFTWARE_WORDS..SOFTWARE_WORDS + 8]
            .copy_from_slice(&(0xe7_u64 | 3 << 17).to_le_bytes());
        state[IN_USE..IN_USE + 8].copy_from_slice(&in_use.to_le_bytes());
        state
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
    }

    #[test]
    fn a_state_with_amx_ends_where_the_frame_of_a_process_without_it_ends() {
        let state = state_of_frame(&xstate(11008, 7), 2816).unwrap();
        assert_eq!(u32_at(&state, SOFTWARE_WORDS), MAGIC);
        assert_eq!(u32_at(&state, SOFTWARE_WORDS + 4), 2820);
        assert_eq!(u32_at(&state, SOFTWARE_WORDS + 8), 0xe7);
        assert_eq!(u32_at(&state, SOFTWARE_WORDS + 16), 2816);
        assert_eq!(u32_at(&state, 2816), END_MAGIC);
        assert_eq!(u32_at(&state, 11008), END_MAGIC);
        // A process that uses AMX has it in its frames.
        let state = state_of_frame(&xstate(11008, 7 | 3 << 17), 2816).unwrap();
        assert_eq!(u32_at(&state, SOFTWARE_WORDS + 16), 11008);
        assert_eq!(state.len(), 11012);
        assert_eq!(u32_at(&state, 2816), 0);
        // If ptrace shows the same layout as the frame, there is one end marker.
        let state = state_of_frame(&xstate(2696, 7), 2696).unwrap();
        assert_eq!((state.len(), u32_at(&state, 2696)), (2700, END_MAGIC));
        assert!(state_of_frame(&[0; 100], 2696).is_none());
    }

    #[test]
    fn the_last_frame_repeats_the_call_as_the_kernel_would() {
        let code = Code {
            call: 0x2000,
            restore: 0x3000,
            behind_restore: 0x3009,
        };
        let (frames, back) = Frames::new(code, &registers(), 5, &xstate(2696, 7), 2696).unwrap();
        let (low, bytes) = frames.finish();
        assert_eq!(low, back);
        assert_eq!(back % 16, 0);
        assert_eq!(low + bytes.len() as u64, 0x7000_0000 - 128);
        let word = |index: usize| u64::from_le_bytes(*bytes[8 * index..].first_chunk().unwrap());
        assert_eq!(word(0), 0x3000);
        assert_eq!(word(1), 7);
        assert_eq!(word(1 + 5 + 8), 7, "rdi");
        assert_eq!(word(1 + 5 + 13), 202, "rax");
        assert_eq!(word(1 + 5 + 16), 0x1000, "rip");
        assert_eq!(word(1 + 5 + 23) % 64, 0, "the state is aligned");
        assert_eq!(word(1 + 5 + 32), 5, "mask");
    }

    #[test]
    fn calls_lead_from_frame_to_frame() {
        let code = Code {
            call: 0x2000,
            restore: 0x3000,
            behind_restore: 0x3009,
        };
        let (mut frames, back) =
            Frames::new(code, &registers(), 0, &xstate(2696, 7), 2696).unwrap();
        let wait = frames.call(back, [61, 1, 2, 3, 4, 5]);
        let (low, bytes) = frames.finish();
        assert_eq!(low, wait);
        let at = usize::try_from(Frames::first_argument(wait) - low).unwrap();
        assert_eq!(bytes[at], 1);
        let word = |index: usize| u64::from_le_bytes(*bytes[8 * index..].first_chunk().unwrap());
        assert_eq!(word(1 + 5 + 15), back, "rsp");
        assert_eq!(word(1 + 5 + 16), 0x2000, "rip");
    }
}
