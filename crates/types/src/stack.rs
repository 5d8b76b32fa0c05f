//! A copied stack, and where to begin with it.

/// The registers that unwinding a stack begins with.
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
    /// The registers when it was made.
    pub registers: StackRegisters,
    /// The memory from `registers.sp` upwards.
    pub bytes: &'a [u8],
}
