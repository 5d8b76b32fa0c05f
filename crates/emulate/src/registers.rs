//! The registers of user code.

use crate::x87::X87;

/// A vector register, as four 128-bit lanes, the lowest first: `xmm` is
/// lane 0, `ymm` lanes 0 and 1.
pub type Vector = [u128; 4];

/// All registers of a thread.
#[derive(Clone, Debug)]
pub struct Registers {
    /// `rax`, `rcx`, `rdx`, `rbx`, `rsp`, `rbp`, `rsi`, `rdi`, `r8` to `r15`, in the order of their
    /// numbers: see [`RAX`](Self::RAX) and the others.
    pub general: [u64; 16],
    /// The address of the next instruction.
    pub rip: u64,
    /// The flags.
    pub rflags: u64,
    /// The base of `fs`, where threads have their local storage.
    pub fs_base: u64,
    /// The base of `gs`.
    pub gs_base: u64,
    /// `zmm0` to `zmm31`.
    pub vectors: [Vector; 32],
    /// `k0` to `k7`.
    pub masks: [u64; 8],
    /// The control and status register of SSE. The six sticky exception bits never change: no
    /// instruction sets them.
    pub mxcsr: u32,
    /// The x87 unit, which includes `mm0` to `mm7`.
    pub x87: X87,
    /// The state components that `xgetbv` and the `xsave` family treat as enabled.
    pub xcr0: u64,
}

impl Registers {
    /// The number of `rax`.
    pub const RAX: usize = 0;
    /// The number of `rcx`.
    pub const RCX: usize = 1;
    /// The number of `rdx`.
    pub const RDX: usize = 2;
    /// The number of `rbx`.
    pub const RBX: usize = 3;
    /// The number of `rsp`.
    pub const RSP: usize = 4;
    /// The number of `rbp`.
    pub const RBP: usize = 5;
    /// The number of `rsi`.
    pub const RSI: usize = 6;
    /// The number of `rdi`.
    pub const RDI: usize = 7;
    /// The number of `r8`.
    pub const R8: usize = 8;
    /// The number of `r9`.
    pub const R9: usize = 9;
    /// The number of `r10`.
    pub const R10: usize = 10;
    /// The number of `r11`.
    pub const R11: usize = 11;
}

impl Default for Registers {
    /// Returns the registers with which the kernel starts a program: all zero, exceptions masked;
    /// the state of x87, SSE, AVX and AVX-512 is enabled.
    fn default() -> Self {
        Self {
            general: [0; 16],
            rip: 0,
            rflags: 0x202,
            fs_base: 0,
            gs_base: 0,
            vectors: [[0; 4]; 32],
            masks: [0; 8],
            mxcsr: 0x1f80,
            x87: X87::default(),
            xcr0: 0xe7,
        }
    }
}
