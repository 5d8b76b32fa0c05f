//! From iced's view of an instruction to an [`Op`]: each group of instructions is asked for a handler.

use iced_x86::Instruction;

use crate::{op::Op, ops};

/// An operation for this instruction; the handler of one that no group knows stops the run.
pub(crate) fn decode(instruction: &Instruction) -> Op {
    let mut op = Op::new(instruction);
    if instruction.op_count() > 4 {
        return op;
    }
    let handler = ops::integer::handler(instruction, &mut op)
        .or_else(|| ops::control::handler(instruction, &mut op))
        .or_else(|| ops::shift::handler(instruction, &mut op))
        .or_else(|| ops::multiply::handler(instruction, &mut op))
        .or_else(|| ops::bits::handler(instruction, &mut op))
        .or_else(|| ops::string::handler(instruction, &mut op))
        .or_else(|| ops::system::handler(instruction, &mut op))
        .or_else(|| ops::vector::handler(instruction, &mut op))
        .or_else(|| ops::mmx::handler(instruction, &mut op))
        .or_else(|| ops::x87::handler(instruction, &mut op))
        .or_else(|| ops::xsave::handler(instruction, &mut op));
    if let Some(handler) = handler {
        op.run = handler;
    }
    op
}
