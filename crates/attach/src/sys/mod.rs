//! All `unsafe` code for foreign processes: system calls that `nix` has no safe form of.
//!
//! The rules for these files:
//!
//! - Each function is one system call, or one use of a call's result. No decision is made here.
//! - A pointer that is passed to the kernel points into a value that is borrowed or owned for the
//!   duration of the call, and its length is that of the value.
//! - IDs of foreign processes and addresses in them are plain numbers. The kernel checks them: a
//!   wrong one causes an error and never a fault in this process.
//! - Nothing here writes to the memory of another process: `process_vm_writev` does that, which
//!   `nix` has a safe form of and which is used in one place (`inject::put`).
#![expect(unsafe_code, reason = "ptrace and signals take pointers")]

mod frame;
mod process;
mod ptrace;
mod socket;

pub(crate) use self::{
    frame::frame_size,
    process::{Priority, Schedule, default_signals, idle, not_idle, schedule_of},
    ptrace::{
        FilterStep, Stop, XstateBuffer, detach, go_on, go_on_to_call, poll, seccomp_filter,
        set_signal_mask, signal_mask, traced,
    },
    socket::receive,
};
