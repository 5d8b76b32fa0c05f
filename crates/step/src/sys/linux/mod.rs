//! Linux on x86_64.

mod chain;
mod code;
mod handler;
mod instruction;
mod processor;
mod signal;
mod syscalls;
mod tracer;

pub(crate) use self::{
    code::Code,
    processor::{thread_pointer, trap_flag_off, trap_flag_on},
    signal::{install, is_in_place, may_step},
    tracer::refuse_if_traced,
};
