//! Turns iced's form of an instruction into an [`Op`], by asking each group of
//! instructions for a handler.

use iced_x86::Instruction;

use crate::{op::Op, ops};

/// Returns the operation for an instruction. If no group knows the instruction,
/// its handler stops the run.
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
