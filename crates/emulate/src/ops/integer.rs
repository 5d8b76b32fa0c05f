//! Moves, addition and logic on general registers.

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic as M, OpKind, Register};

use super::{by_condition, by_size};
use crate::{
    flags::{Flags, signed, truncate},
    machine::{Machine, Result},
    op::{Handler, Kind, Op},
    registers::Registers,
};

// The operands of a binary operation, the destination first.
const REGISTER_REGISTER: u8 = 0;
const REGISTER_MEMORY: u8 = 1;
const REGISTER_IMMEDIATE: u8 = 2;
const MEMORY_REGISTER: u8 = 3;
const MEMORY_IMMEDIATE: u8 = 4;

// Binary operations, numbered as in their encodings; `TEST` and `MOV` have no such number.
const ADD: u8 = 0;
const OR: u8 = 1;
const ADC: u8 = 2;
const SBB: u8 = 3;
const AND: u8 = 4;
const SUB: u8 = 5;
const XOR: u8 = 6;
const CMP: u8 = 7;
const TEST: u8 = 8;
const MOV: u8 = 9;

// Unary operations.
const NOT: u8 = 0;
const NEG: u8 = 1;
const INC: u8 = 2;
const DEC: u8 = 3;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let unusual = |register: Register| register != Register::None && !register.is_gpr();
    let all_general = (0..instruction.op_count()).all(|n| {
        instruction.op_kind(n) != OpKind::Register || !unusual(instruction.op_register(n))
    });
    if !all_general {
        return None;
    }
    let condition = instruction.condition_code();
    Some(match instruction.mnemonic() {
        M::Mov | M::Movnti => binary::<MOV>(op),
        M::Add => binary::<ADD>(op),
        M::Or => binary::<OR>(op),
        M::Adc => binary::<ADC>(op),
        M::Sbb => binary::<SBB>(op),
        M::And => binary::<AND>(op),
        M::Sub => binary::<SUB>(op),
        M::Xor => binary::<XOR>(op),
        M::Cmp => binary::<CMP>(op),
        M::Test => binary::<TEST>(op),
        M::Not => unary::<NOT>(op),
        M::Neg => unary::<NEG>(op),
        M::Inc => unary::<INC>(op),
        M::Dec => unary::<DEC>(op),
        M::Lea => lea,
        M::Movzx => {
            op.from = source_bits(instruction);
            movzx
        }
        M::Movsx | M::Movsxd => {
            op.from = source_bits(instruction);
            movsx
        }
        M::Cbw | M::Cwde | M::Cdqe => {
            op.bits = match instruction.mnemonic() {
                M::Cbw => 16,
                M::Cwde => 32,
                _ => 64,
            };
            extend_accumulator
        }
        M::Cwd | M::Cdq | M::Cqo => {
            op.bits = match instruction.mnemonic() {
                M::Cwd => 16,
                M::Cdq => 32,
                _ => 64,
            };
            sign_to_rdx
        }
        M::Push => {
            if matches!(instruction.code(), Code::Push_imm16 | Code::Pushw_imm8) {
                op.bits = 16;
            }
            push
        }
        M::Pop => pop,
        M::Xchg => xchg,
        M::Xadd => by_size!(op.bits, xadd),
        M::Cmpxchg => by_size!(op.bits, cmpxchg),
        M::Cmpxchg8b => {
            op.bits = 32;
            cmpxchg_pair
        }
        M::Cmpxchg16b => {
            op.bits = 64;
            cmpxchg_pair
        }
        M::Bswap => bswap,
        M::Movbe => movbe,
        M::Adcx => adcx,
        M::Adox => adox,
        M::Seto
        | M::Setno
        | M::Setb
        | M::Setae
        | M::Sete
        | M::Setne
        | M::Setbe
        | M::Seta
        | M::Sets
        | M::Setns
        | M::Setp
        | M::Setnp
        | M::Setl
        | M::Setge
        | M::Setle
        | M::Setg => by_condition!(number(condition), setcc),
        M::Cmovo
        | M::Cmovno
        | M::Cmovb
        | M::Cmovae
        | M::Cmove
        | M::Cmovne
        | M::Cmovbe
        | M::Cmova
        | M::Cmovs
        | M::Cmovns
        | M::Cmovp
        | M::Cmovnp
        | M::Cmovl
        | M::Cmovge
        | M::Cmovle
        | M::Cmovg => {
            by_condition!(number(condition), cmovcc)
        }
        _ => return None,
    })
}

/// Returns the number of a condition in instruction encodings.
pub(crate) fn number(condition: ConditionCode) -> u8 {
    // iced numbers conditions from 1, in the same order.
    (condition as u8).wrapping_sub(1)
}

fn source_bits(instruction: &Instruction) -> u8 {
    let size = match instruction.op1_kind() {
        OpKind::Register => instruction.op1_register().size(),
        _ => instruction.memory_size().size(),
    };
    (size * 8) as u8
}

fn binary<const OP: u8>(op: &Op) -> Handler {
    match (op.kind[0], op.kind[1]) {
        (Kind::Register, Kind::Register) => by_size!(op.bits, run_binary, OP, REGISTER_REGISTER),
        (Kind::Register, Kind::Memory) => by_size!(op.bits, run_binary, OP, REGISTER_MEMORY),
        (Kind::Register, _) => by_size!(op.bits, run_binary, OP, REGISTER_IMMEDIATE),
        (_, Kind::Register) => by_size!(op.bits, run_binary, OP, MEMORY_REGISTER),
        _ => by_size!(op.bits, run_binary, OP, MEMORY_IMMEDIATE),
    }
}

fn run_binary<const BITS: u32, const OP: u8, const FORM: u8>(
    m: &mut Machine<'_>,
    op: &Op,
) -> Result {
    let to_memory = matches!(FORM, MEMORY_REGISTER | MEMORY_IMMEDIATE);
    let address = if to_memory || FORM == REGISTER_MEMORY {
        m.address(op)
    } else {
        0
    };
    let b = match FORM {
        REGISTER_REGISTER | MEMORY_REGISTER => m.get(BITS, op.register[1]),
        REGISTER_MEMORY => m.load(BITS, address)?,
        _ => truncate(op.immediate, BITS),
    };
    if OP == MOV {
        if to_memory {
            m.store(BITS, address, b)?;
        } else {
            m.set(BITS, op.register[0], b);
        }
        return Ok(());
    }
    let a = if to_memory {
        m.load(BITS, address)?
    } else {
        m.get(BITS, op.register[0])
    };
    if matches!(OP, CMP | TEST) {
        compute::<BITS, OP>(&mut m.flags, a, b);
    } else if to_memory {
        let mut flags = m.flags;
        let result = compute::<BITS, OP>(&mut flags, a, b);
        m.store(BITS, address, result)?;
        m.flags = flags;
    } else {
        let result = compute::<BITS, OP>(&mut m.flags, a, b);
        m.set(BITS, op.register[0], result);
    }
    Ok(())
}

#[inline]
fn compute<const BITS: u32, const OP: u8>(flags: &mut Flags, a: u64, b: u64) -> u64 {
    match OP {
        ADD => flags.add::<BITS>(a, b, false),
        ADC => flags.add::<BITS>(a, b, flags.carry),
        SBB => flags.sub::<BITS>(a, b, flags.carry),
        SUB | CMP => flags.sub::<BITS>(a, b, false),
        OR => flags.logic::<BITS>(a | b),
        XOR => flags.logic::<BITS>(a ^ b),
        _ => flags.logic::<BITS>(a & b),
    }
}

fn unary<const OP: u8>(op: &Op) -> Handler {
    by_size!(op.bits, run_unary, OP)
}

fn run_unary<const BITS: u32, const OP: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let a = m.operand(op, 0)?;
    let mut flags = m.flags;
    let result = match OP {
        NOT => truncate(!a, BITS),
        NEG => flags.sub::<BITS>(0, a, false),
        INC => flags.add::<BITS>(a, 1, false),
        _ => flags.sub::<BITS>(a, 1, false),
    };
    if matches!(OP, INC | DEC) {
        flags.carry = m.flags.carry;
    }
    m.set_operand(op, 0, result)?;
    m.flags = flags;
    Ok(())
}

fn lea(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.offset(op);
    m.set(u32::from(op.bits), op.register[0], address);
    Ok(())
}

fn movzx(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.sized_operand(op, 1, u32::from(op.from))?;
    m.set(u32::from(op.bits), op.register[0], value);
    Ok(())
}

fn movsx(m: &mut Machine<'_>, op: &Op) -> Result {
    let from = u32::from(op.from);
    let value = signed(m.sized_operand(op, 1, from)?, from) as u64;
    m.set(u32::from(op.bits), op.register[0], value);
    Ok(())
}

fn extend_accumulator(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let value = signed(m.words[Registers::RAX], bits / 2) as u64;
    m.set(bits, Registers::RAX as u8, value);
    Ok(())
}

fn sign_to_rdx(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let sign = signed(m.words[Registers::RAX], bits) >> 63;
    m.set(bits, Registers::RDX as u8, sign as u64);
    Ok(())
}

fn push(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.operand(op, 0)?;
    m.push(u32::from(op.bits), value)
}

fn pop(m: &mut Machine<'_>, op: &Op) -> Result {
    let before = m.words[Registers::RSP];
    let value = m.pop(u32::from(op.bits))?;
    // An address relative to `rsp` uses the value after the pop.
    m.set_operand(op, 0, value)
        .inspect_err(|_| m.words[Registers::RSP] = before)
}

fn xchg(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (m.operand(op, 0)?, m.operand(op, 1)?);
    let (first, second) = if op.writes_register() { (1, 0) } else { (0, 1) };
    let values = [b, a];
    m.set_operand(op, first, values[first])?;
    m.set_operand(op, second, values[second])
}

fn xadd<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (a, b) = (m.operand(op, 0)?, m.operand(op, 1)?);
    let mut flags = m.flags;
    let sum = flags.add::<BITS>(a, b, false);
    if op.writes_register() {
        m.set_operand(op, 1, a)?;
        m.set_operand(op, 0, sum)?;
    } else {
        m.set_operand(op, 0, sum)?;
        m.set_operand(op, 1, a)?;
    }
    m.flags = flags;
    Ok(())
}

fn cmpxchg<const BITS: u32>(m: &mut Machine<'_>, op: &Op) -> Result {
    let (old, new) = (m.operand(op, 0)?, m.operand(op, 1)?);
    let expected = truncate(m.words[Registers::RAX], BITS);
    let same = old == expected;
    // A memory destination is written in either case.
    if same || !op.writes_register() {
        m.set_operand(op, 0, if same { new } else { old })?;
    }
    if !same {
        m.set(BITS, Registers::RAX as u8, old);
    }
    m.flags.sub::<BITS>(expected, old, false);
    Ok(())
}

/// `cmpxchg8b` and `cmpxchg16b`.
fn cmpxchg_pair(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    let address = m.address(op);
    if bits == 64 {
        m.check_aligned(address, 16, crate::source::Wanted::Write)?;
    }
    let high = address.wrapping_add(u64::from(bits / 8));
    let old = (m.load(bits, address)?, m.load(bits, high)?);
    let expected = (
        m.get(bits, Registers::RAX as u8),
        m.get(bits, Registers::RDX as u8),
    );
    let same = old == expected;
    let new = if same {
        (
            m.get(bits, Registers::RBX as u8),
            m.get(bits, Registers::RCX as u8),
        )
    } else {
        old
    };
    let mut bytes = [0; 16];
    let size = bits as usize / 8;
    bytes[..size].copy_from_slice(&new.0.to_le_bytes()[..size]);
    bytes[size..2 * size].copy_from_slice(&new.1.to_le_bytes()[..size]);
    m.memory.store_slice(address, &bytes[..2 * size])?;
    if !same {
        m.set(bits, Registers::RAX as u8, old.0);
        m.set(bits, Registers::RDX as u8, old.1);
    }
    m.flags.set_zero_only(same);
    Ok(())
}

fn bswap(m: &mut Machine<'_>, op: &Op) -> Result {
    let bits = u32::from(op.bits);
    // The manuals leave the result for 16 bits undefined; processors clear the register.
    let value = if bits == 16 {
        0
    } else {
        m.get(bits, op.register[0]).swap_bytes() >> (64 - bits)
    };
    m.set(bits, op.register[0], value);
    Ok(())
}

fn movbe(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.operand(op, 1)?.swap_bytes() >> (64 - u32::from(op.bits));
    m.set_operand(op, 0, value)
}

fn adcx(m: &mut Machine<'_>, op: &Op) -> Result {
    let carry = m.flags.carry;
    let (sum, carry) = add_carry(m, op, carry)?;
    m.flags.carry = carry;
    m.set_operand(op, 0, sum)
}

fn adox(m: &mut Machine<'_>, op: &Op) -> Result {
    let carry = m.flags.overflow;
    let (sum, carry) = add_carry(m, op, carry)?;
    m.flags.overflow = carry;
    m.set_operand(op, 0, sum)
}

fn add_carry(m: &mut Machine<'_>, op: &Op, carry: bool) -> Result<(u64, bool)> {
    let sum = u128::from(m.operand(op, 0)?) + u128::from(m.operand(op, 1)?) + u128::from(carry);
    Ok((sum as u64, sum >> op.bits != 0))
}

fn setcc<const CONDITION: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = u64::from(m.flags.holds::<CONDITION>());
    m.set_operand(op, 0, value)
}

fn cmovcc<const CONDITION: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    // Even if nothing is moved, the source is read and 32-bit destinations are zero-extended.
    let value = m.operand(op, 1)?;
    let value = if m.flags.holds::<CONDITION>() {
        value
    } else {
        m.operand(op, 0)?
    };
    m.set_operand(op, 0, value)
}
