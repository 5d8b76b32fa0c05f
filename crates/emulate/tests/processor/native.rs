//! Runs one instruction on the processor. All `unsafe` code of these tests is here.
//!
//! A piece of assembly loads every register from a [`State`], runs the instruction in its slot,
//! stores every register and returns. It is copied, followed by the page of the state, to memory
//! that is writable and executable.
#![expect(unsafe_code, reason = "the processor is asked what it does")]

use std::{arch::global_asm, ffi::c_void, num::NonZeroUsize, ptr::NonNull};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The address of the operands in memory, the same in every run so that failures repeat.
pub const SCRATCH: u64 = 0x2000_0000;
/// The size of the memory at [`SCRATCH`], in bytes.
pub const SCRATCH_SIZE: usize = 8192;

/// The registers, before or after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct State {
    pub vectors: [[u128; 4]; 32],
    pub fxsave: [u8; 512],
    pub general: [u64; 16],
    pub masks: [u64; 8],
    pub flags: u64,
    saved_rsp: u64,
    /// 2 for AVX-512, 1 for AVX, 0 for SSE.
    level: u64,
}

impl State {
    pub fn new() -> Self {
        let level = if std::is_x86_feature_detected!("avx512bw") {
            2
        } else {
            u64::from(std::is_x86_feature_detected!("avx"))
        };
        let mut state = Self {
            vectors: [[0; 4]; 32],
            fxsave: [0; 512],
            general: [0; 16],
            masks: [0; 8],
            flags: 0x202,
            saved_rsp: 0,
            level,
        };
        state.fxsave[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        state.fxsave[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        state
    }

    /// Returns the number of lanes of a vector register on this processor, and
    /// the number of registers.
    pub fn vector_shape(&self) -> (usize, usize) {
        match self.level {
            2 => (4, 32),
            1 => (2, 16),
            _ => (1, 16),
        }
    }
}

// The assembly below uses these offsets of `State`.
const _: () = {
    assert!(std::mem::offset_of!(State, fxsave) == 2048);
    assert!(std::mem::offset_of!(State, general) == 2560);
    assert!(std::mem::offset_of!(State, masks) == 2688);
    assert!(std::mem::offset_of!(State, flags) == 2752);
    assert!(std::mem::offset_of!(State, saved_rsp) == 2760);
    assert!(std::mem::offset_of!(State, level) == 2768);
};

global_asm! {
    ".pushsection .text",
    ".balign 4096",
    "rtops_emulate_harness:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "lea rax, [rip + rtops_emulate_state]",
    "mov [rax + 2760], rsp",
    "fxrstor64 [rax + 2048]",
    "cmp qword ptr [rax + 2768], 1",
    "ja 2f",
    "je 3f",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movups xmm\\n, [rax + 64 * \\n]",
    ".endr",
    "jmp 4f",
    "3:",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vmovups ymm\\n, [rax + 64 * \\n]",
    ".endr",
    "jmp 4f",
    "2:",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "vmovups zmm\\n, [rax + 64 * \\n]",
    ".endr",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
    "kmovq k\\n, [rax + 2688 + 8 * \\n]",
    ".endr",
    "4:",
    "push qword ptr [rax + 2752]",
    "popfq",
    "mov rcx, [rax + 2568]",
    "mov rdx, [rax + 2576]",
    "mov rbx, [rax + 2584]",
    "mov rsp, [rax + 2592]",
    "mov rbp, [rax + 2600]",
    "mov rsi, [rax + 2608]",
    "mov rdi, [rax + 2616]",
    ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
    "mov r\\n, [rax + 2560 + 8 * \\n]",
    ".endr",
    "mov rax, [rax + 2560]",
    "rtops_emulate_slot:",
    ".fill 16, 1, 0x90",
    "mov [rip + rtops_emulate_state + 2560], rax",
    "lea rax, [rip + rtops_emulate_state]",
    "mov [rax + 2568], rcx",
    "mov [rax + 2576], rdx",
    "mov [rax + 2584], rbx",
    "mov [rax + 2592], rsp",
    "mov [rax + 2600], rbp",
    "mov [rax + 2608], rsi",
    "mov [rax + 2616], rdi",
    ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
    "mov [rax + 2560 + 8 * \\n], r\\n",
    ".endr",
    "mov rsp, [rax + 2760]",
    "pushfq",
    "pop qword ptr [rax + 2752]",
    "cld",
    "fxsave64 [rax + 2048]",
    "cmp qword ptr [rax + 2768], 1",
    "ja 2f",
    "je 3f",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movups [rax + 64 * \\n], xmm\\n",
    ".endr",
    "jmp 4f",
    "3:",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vmovups [rax + 64 * \\n], ymm\\n",
    ".endr",
    "vzeroupper",
    "jmp 4f",
    "2:",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "vmovups [rax + 64 * \\n], zmm\\n",
    ".endr",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
    "kmovq [rax + 2688 + 8 * \\n], k\\n",
    ".endr",
    "vzeroupper",
    "4:",
    "fninit",
    "push 0x1f80",
    "ldmxcsr [rsp]",
    "pop rax",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    ".balign 4096",
    "rtops_emulate_state:",
    ".fill 4096, 1, 0",
    "rtops_emulate_harness_end:",
    ".popsection",
}

unsafe extern "C" {
    static rtops_emulate_harness: u8;
    static rtops_emulate_slot: u8;
    static rtops_emulate_state: u8;
    static rtops_emulate_harness_end: u8;
}

/// The copy of the harness, and the memory that instructions may use.
pub struct Native {
    code: NonNull<c_void>,
    code_size: usize,
    slot: usize,
    state: usize,
    scratch: NonNull<c_void>,
}

impl Native {
    pub fn new() -> Self {
        let begin = &raw const rtops_emulate_harness;
        let offset = |label: *const u8| label.addr() - begin.addr();
        let code_size = offset(&raw const rtops_emulate_harness_end);
        let size = |size: usize| NonZeroUsize::new(size).expect("not empty");
        let all = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE | ProtFlags::PROT_EXEC;
        // SAFETY: this is a new mapping at an address that the kernel chooses.
        let code = unsafe { mmap_anonymous(None, size(code_size), all, MapFlags::MAP_PRIVATE) }
            .expect("mmap");
        let at = NonZeroUsize::new(SCRATCH as usize);
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
        let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: this is a new mapping, which replaces no other.
        let scratch =
            unsafe { mmap_anonymous(at, size(SCRATCH_SIZE), read_write, flags) }.expect("mmap");
        // SAFETY: the symbols delimit one object of this size, and the mapping has the same size.
        unsafe { begin.copy_to_nonoverlapping(code.as_ptr().cast(), code_size) };
        Self {
            code,
            code_size,
            slot: offset(&raw const rtops_emulate_slot),
            state: offset(&raw const rtops_emulate_state),
            scratch,
        }
    }

    /// Returns the address of the instruction.
    pub fn slot(&self) -> u64 {
        (self.code.as_ptr().addr() + self.slot) as u64
    }

    /// Runs an instruction on this memory, and stores the resulting registers in `state`.
    ///
    /// The instruction must not fault or jump, nor change what the harness depends on: segments, or
    /// control words such that exceptions are raised.
    pub fn run(&mut self, instruction: &[u8], state: &mut State, memory: &mut [u8; SCRATCH_SIZE]) {
        assert!(instruction.len() <= 15);
        let mut bytes = [0x90; 16];
        bytes[..instruction.len()].copy_from_slice(instruction);
        let (code, scratch) = (
            self.code.as_ptr().cast::<u8>(),
            self.scratch.as_ptr().cast::<u8>(),
        );
        // SAFETY: the slot has 16 bytes, the page of the state is larger than a state and aligned,
        // and the scratch memory has the size of `memory`; all are ours alone (`&mut self`). The
        // code follows the C calling convention: it restores what must be restored, and the caller
        // promises that the instruction does not prevent that.
        unsafe {
            code.add(self.slot)
                .copy_from_nonoverlapping(bytes.as_ptr(), 16);
            let shared = code.add(self.state).cast::<State>();
            shared.write(*state);
            scratch.copy_from_nonoverlapping(memory.as_ptr(), SCRATCH_SIZE);
            std::mem::transmute::<*mut u8, extern "C" fn()>(code)();
            *state = shared.read();
            scratch.copy_to_nonoverlapping(memory.as_mut_ptr(), SCRATCH_SIZE);
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        for (start, size) in [(self.code, self.code_size), (self.scratch, SCRATCH_SIZE)] {
            // SAFETY: it was mapped in `new` with this size, and nothing refers to it any more.
            unsafe { munmap(start, size) }.expect("munmap");
        }
    }
}
