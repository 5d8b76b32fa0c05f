//! A platform on which nothing can be stepped: the first thing that is asked says so, and nothing else is
//! ever reached.

use super::Instruction;
use crate::Refusal;

pub(crate) struct Code;

impl Code {
    pub(crate) fn read() -> Result<Self, Refusal> {
        Err(Refusal::Unsupported)
    }

    pub(crate) fn read_for_copy() -> Result<Self, Refusal> {
        Err(Refusal::Unsupported)
    }

    pub(crate) fn instruction(&self, _: u64, _: u64) -> Option<Instruction> {
        None
    }
}

pub(crate) fn refuse_if_traced() -> Result<(), Refusal> {
    Err(Refusal::Unsupported)
}

pub(crate) fn install() -> Result<(), Refusal> {
    Err(Refusal::Unsupported)
}

pub(crate) fn is_in_place() -> Result<(), Refusal> {
    Err(Refusal::Unsupported)
}

pub(crate) fn may_step() -> Result<(), Refusal> {
    Err(Refusal::Unsupported)
}

pub(crate) fn thread_pointer() -> u64 {
    0
}

pub(crate) fn trap_flag_on() {}

pub(crate) fn trap_flag_off() {}
