//! Threads and their registers.

use rtops_types::Tid;

/// A thread of the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Thread {
    /// Its ID in the PID namespace of the image's writer.
    pub tid: Tid,
    /// The signal that ended the process or stopped the thread; 0 for none.
    pub signal: i32,
    /// The integer registers.
    pub registers: GeneralRegisters,
    /// The floating-point and vector registers, if the image has them.
    pub vectors: Option<Box<Vectors>>,
}

/// The integer registers of a thread.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "they are named as the processor's manual names them"
)]
pub struct GeneralRegisters {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    /// The number of the system call that the thread is in; −1 for none.
    pub orig_rax: u64,
}

impl GeneralRegisters {
    /// Converts the kernel's `user_regs_struct`, as in `NT_PRSTATUS` and `PTRACE_GETREGSET`.
    #[must_use]
    pub const fn from_user_regs(words: &[u64; 27]) -> Self {
        let [
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax,
            rip,
            _cs,
            rflags,
            rsp,
            _ss,
            fs_base,
            gs_base,
            _ds,
            _es,
            _fs,
            _gs,
        ] = *words;
        Self {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            rsp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
            fs_base,
            gs_base,
            orig_rax,
        }
    }
}

/// The floating-point and vector registers of a thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vectors {
    /// The control and status register of SSE.
    pub mxcsr: u32,
    /// The x87 floating-point unit.
    pub x87: X87,
    /// `ymm0` to `ymm15`; the lower 16 bytes of each are `xmm`. The upper
    /// ones are zeros if the image has no AVX state.
    pub ymm: [[u8; 32]; 16],
    /// The registers that AVX-512 adds, if the image has them.
    pub avx512: Option<Box<Avx512>>,
}

/// The state of the x87 unit, as `fxsave64` stores it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct X87 {
    /// The control word.
    pub control: u16,
    /// The status word; bits 11 to 13 say which register is `st(0)`.
    pub status: u16,
    /// One bit for each physical register, set if it is in use.
    pub tags: u8,
    /// `st(0)` to `st(7)`, 80 bits each.
    pub st: [[u8; 10]; 8],
}

/// The registers that AVX-512 adds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Avx512 {
    /// `k0` to `k7`.
    pub masks: [u64; 8],
    /// The upper halves of `zmm0` to `zmm15`.
    pub upper: [[u8; 32]; 16],
    /// `zmm16` to `zmm31`.
    pub more: [[u8; 64]; 16],
}
