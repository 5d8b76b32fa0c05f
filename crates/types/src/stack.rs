//! A copied stack, and the registers to start unwinding it.

/// The registers from which unwinding starts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StackRegisters {
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
}

/// A copy of stack memory.
#[derive(Clone, Copy, Debug)]
pub struct StackSlice<'a> {
    /// The registers when the copy was made.
    pub registers: StackRegisters,
    /// The memory from `registers.sp` upwards.
    pub bytes: &'a [u8],
}
