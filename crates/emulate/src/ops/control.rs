//! Jumps, calls, returns, and instructions that enter the kernel.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic as M};

use super::{by_condition, integer::number};
use crate::{
    machine::{Exit, Machine, Result},
    op::{Flow, Handler, Kind, Op},
    registers::Registers,
    run::Trap,
};

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let direct = op.kind[0] == Kind::Immediate;
    let near = !instruction.is_jmp_far_indirect() && !instruction.is_call_far_indirect();
    let condition = instruction.condition_code();
    op.flow = match instruction.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall if instruction.code() != Code::Syscall => {
            Flow::Call
        }
        FlowControl::Return => Flow::Return,
        FlowControl::UnconditionalBranch
        | FlowControl::IndirectBranch
        | FlowControl::ConditionalBranch => Flow::Jump,
        _ => Flow::Next,
    };
    Some(match instruction.mnemonic() {
        M::Jmp if direct => jump,
        M::Jmp if near => jump_indirect,
        M::Call if direct => call,
        M::Call if near && op.bits == 64 => call_indirect,
        M::Ret if matches!(instruction.code(), Code::Retnq | Code::Retnq_imm16) => ret,
        M::Jrcxz => jump_if_rcx_is_0,
        M::Loop | M::Loope | M::Loopne if op.kind[0] == Kind::Immediate => loops(instruction)?,
        _ if instruction.is_jcc_short_or_near() && direct => by_condition!(number(condition), jcc),
        M::Leave if instruction.code() == Code::Leaveq => leave,
        M::Enter
            if instruction.code() == Code::Enterq_imm16_imm8
                && instruction.immediate8_2nd() == 0 =>
        {
            op.immediate = u64::from(instruction.immediate16());
            enter
        }
        M::Syscall => syscall,
        M::Int3 => trap::<INT3>,
        M::Int1 | M::Ud0 | M::Ud1 | M::Ud2 => trap::<UNDEFINED>,
        M::Int => interrupt,
        M::Sysenter => trap::<SYSENTER>,
        _ if instruction.is_privileged() || matches!(instruction.mnemonic(), M::In | M::Out) => {
            trap::<PRIVILEGED>
        }
        _ => return None,
    })
}

fn jump(m: &mut Machine<'_>, op: &Op) -> Result {
    m.ip = op.immediate;
    Ok(())
}

fn jump_indirect(m: &mut Machine<'_>, op: &Op) -> Result {
    m.ip = m.sized_operand(op, 0, 64)?;
    Ok(())
}

fn jcc<const CONDITION: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    if m.flags.holds::<CONDITION>() {
        m.ip = op.immediate;
    }
    Ok(())
}

fn call(m: &mut Machine<'_>, op: &Op) -> Result {
    m.push(64, m.ip)?;
    m.ip = op.immediate;
    Ok(())
}

fn call_indirect(m: &mut Machine<'_>, op: &Op) -> Result {
    let target = m.operand(op, 0)?;
    m.push(64, m.ip)?;
    m.ip = target;
    Ok(())
}

fn ret(m: &mut Machine<'_>, op: &Op) -> Result {
    m.ip = m.pop(64)?;
    m.words[Registers::RSP] = m.words[Registers::RSP].wrapping_add(op.immediate);
    Ok(())
}

fn jump_if_rcx_is_0(m: &mut Machine<'_>, op: &Op) -> Result {
    if m.words[Registers::RCX] == 0 {
        m.ip = op.immediate;
    }
    Ok(())
}

/// Handles loops that count in all of `rcx`: with an address-size prefix they would use `ecx`.
fn loops(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Loop_rel8_64_RCX => run_loop::<LOOP>,
        Code::Loope_rel8_64_RCX => run_loop::<LOOPE>,
        Code::Loopne_rel8_64_RCX => run_loop::<LOOPNE>,
        _ => return None,
    })
}

const LOOP: u8 = 0;
const LOOPE: u8 = 1;
const LOOPNE: u8 = 2;

fn run_loop<const WHICH: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let count = m.words[Registers::RCX].wrapping_sub(1);
    m.words[Registers::RCX] = count;
    let again = match WHICH {
        LOOPE => m.flags.zero(),
        LOOPNE => !m.flags.zero(),
        _ => true,
    };
    if count != 0 && again {
        m.ip = op.immediate;
    }
    Ok(())
}

fn leave(m: &mut Machine<'_>, _: &Op) -> Result {
    let frame = m.words[Registers::RBP];
    m.words[Registers::RBP] = m.load(64, frame)?;
    m.words[Registers::RSP] = frame.wrapping_add(8);
    Ok(())
}

fn enter(m: &mut Machine<'_>, op: &Op) -> Result {
    m.push(64, m.words[Registers::RBP])?;
    let frame = m.words[Registers::RSP];
    m.words[Registers::RBP] = frame;
    m.words[Registers::RSP] = frame.wrapping_sub(op.immediate);
    Ok(())
}

fn syscall(m: &mut Machine<'_>, _: &Op) -> Result {
    m.words[Registers::RCX] = m.ip;
    m.words[Registers::R11] = m.flags.rflags();
    Err(Exit::SystemCall)
}

const INT3: u8 = 0;
const UNDEFINED: u8 = 1;
const PRIVILEGED: u8 = 2;
const SYSENTER: u8 = 3;

fn trap<const WHICH: u8>(_: &mut Machine<'_>, _: &Op) -> Result {
    Err(Exit::Trap(match WHICH {
        INT3 => Trap::Breakpoint,
        UNDEFINED => Trap::Undefined,
        SYSENTER => Trap::OldSystemCall,
        _ => Trap::Privileged,
    }))
}

fn interrupt(_: &mut Machine<'_>, op: &Op) -> Result {
    Err(Exit::Trap(Trap::Interrupt(op.immediate as u8)))
}
