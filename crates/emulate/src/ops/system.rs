//! Instructions that describe the processor, that access the flags as a whole, or
//! that have no visible effect.

use iced_x86::{Code, Instruction, Mnemonic as M, OpKind, Register};

use crate::{
    flags::{AF, CF, PF, SF, ZF},
    machine::{Exit, Machine, Result, Unsupported},
    op::{FS_BASE, GS_BASE, Handler, Kind, NO_REGISTER, Op},
    registers::Registers,
};

const RAX: usize = Registers::RAX;
const RBX: usize = Registers::RBX;
const RCX: usize = Registers::RCX;
const RDX: usize = Registers::RDX;

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        // Without a memory operand, it is not a prefetch.
        M::Reservednop if is_reserved_prefetch(instruction.code()) => return None,
        M::Nop | M::Reservednop | M::Endbr64 | M::Endbr32 | M::Pause | M::Fnop => nothing,
        M::Mfence | M::Lfence | M::Sfence | M::Serialize => nothing,
        M::Prefetch | M::Prefetchw | M::Prefetchwt1 => nothing,
        M::Prefetchnta | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 => nothing,
        M::Prefetchit0 | M::Prefetchit1 => nothing,
        M::Cldemote => nothing,
        M::Clflush | M::Clflushopt | M::Clwb => touch,
        // Without a shadow stack, these do nothing.
        M::Rdsspd | M::Rdsspq | M::Incsspd | M::Incsspq => nothing,
        M::Clc => set_carry::<0>,
        M::Stc => set_carry::<1>,
        M::Cmc => complement_carry,
        M::Cld => set_backwards::<false>,
        M::Std => set_backwards::<true>,
        M::Lahf => lahf,
        M::Sahf => sahf,
        M::Pushf | M::Pushfq => {
            op.bits = if instruction.mnemonic() == M::Pushf {
                16
            } else {
                64
            };
            pushf
        }
        M::Popf | M::Popfq => {
            op.bits = if instruction.mnemonic() == M::Popf {
                16
            } else {
                64
            };
            popf
        }
        M::Cpuid => cpuid,
        M::Rdtsc => rdtsc,
        M::Rdtscp => rdtscp,
        M::Rdpid => rdpid,
        M::Xgetbv => xgetbv,
        M::Rdfsbase => read_base::<FS_BASE>,
        M::Rdgsbase => read_base::<GS_BASE>,
        M::Wrfsbase => write_base::<FS_BASE>,
        M::Wrgsbase => write_base::<GS_BASE>,
        M::Xlatb => return xlatb(instruction, op),
        _ if op.kind[0] == Kind::None && instruction.code() == Code::Wait => nothing,
        _ => return None,
    })
}

fn is_reserved_prefetch(code: Code) -> bool {
    matches!(
        code,
        Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
    )
}

fn nothing(_: &mut Machine<'_>, _: &Op) -> Result {
    Ok(())
}

/// Reads a byte, because a cache line can be written back only if its memory exists.
fn touch(m: &mut Machine<'_>, op: &Op) -> Result {
    m.load(8, m.address(op))?;
    Ok(())
}

/// Reads the byte at `rbx + al`.
fn xlatb(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    if instruction.op_kind(0) != OpKind::Memory || instruction.memory_base() != Register::RBX {
        return None;
    }
    // Only a part of `rax` is the index.
    op.index = NO_REGISTER;
    Some(|m, op| {
        let address = m.address(op).wrapping_add(m.words[RAX] & 0xff);
        let byte = m.load(8, address)?;
        m.set(8, RAX as u8, byte);
        Ok(())
    })
}

fn set_carry<const CARRY: u8>(m: &mut Machine<'_>, _: &Op) -> Result {
    m.flags.carry = CARRY != 0;
    Ok(())
}

fn complement_carry(m: &mut Machine<'_>, _: &Op) -> Result {
    m.flags.carry = !m.flags.carry;
    Ok(())
}

fn set_backwards<const ON: bool>(m: &mut Machine<'_>, _: &Op) -> Result {
    m.flags.set_backwards(ON);
    Ok(())
}

fn lahf(m: &mut Machine<'_>, _: &Op) -> Result {
    let flags = m.flags.rflags() & 0xff;
    m.words[RAX] = m.words[RAX] & !0xff00 | flags << 8;
    Ok(())
}

fn sahf(m: &mut Machine<'_>, _: &Op) -> Result {
    const LOW: u64 = CF | PF | AF | ZF | SF;
    let flags = m.words[RAX] >> 8 & LOW;
    m.flags = crate::flags::Flags::new(m.flags.rflags() & !LOW | flags);
    Ok(())
}

fn pushf(m: &mut Machine<'_>, op: &Op) -> Result {
    m.push(u32::from(op.bits), m.flags.rflags())
}

fn popf(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.pop(u32::from(op.bits))?;
    // TF, a trap after every instruction, is for debuggers.
    if value & 1 << 8 != 0 {
        m.words[Registers::RSP] = m.words[Registers::RSP].wrapping_sub(u64::from(op.bits / 8));
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    m.flags.pop(value, u32::from(op.bits));
    Ok(())
}

/// Describes a processor with only the features that all x86_64 processors have, so code that
/// checks them picks its plainest version.
fn cpuid(m: &mut Machine<'_>, _: &Op) -> Result {
    let [a, b, c, d]: [u32; 4] = match m.words[RAX] as u32 {
        // The highest leaf, and "GenuineIntel".
        0 => [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        // FPU, TSC, CX8, CMOV, MMX, FXSR, SSE and SSE2; cache lines of 64 bytes.
        1 => [0x0000_0f00, 8 << 8, 0, 0x0780_8111],
        0x8000_0000 => [0x8000_0001, 0, 0, 0],
        // LAHF; SYSCALL, NX and long mode.
        0x8000_0001 => [0, 0, 1, 1 << 11 | 1 << 20 | 1 << 29],
        _ => [0; 4],
    };
    for (register, value) in [(RAX, a), (RBX, b), (RCX, c), (RDX, d)] {
        m.words[register] = u64::from(value);
    }
    Ok(())
}

/// Always returns the same time.
fn rdtsc(m: &mut Machine<'_>, _: &Op) -> Result {
    m.words[RAX] = 0;
    m.words[RDX] = 1;
    Ok(())
}

fn rdtscp(m: &mut Machine<'_>, op: &Op) -> Result {
    m.words[RCX] = 0;
    rdtsc(m, op)
}

/// Everything runs on the first processor.
fn rdpid(m: &mut Machine<'_>, op: &Op) -> Result {
    m.set(64, op.register[0], 0);
    Ok(())
}

fn xgetbv(m: &mut Machine<'_>, _: &Op) -> Result {
    let value = match m.words[RCX] as u32 {
        0 => m.registers.xcr0,
        // The components in use: reporting all of them is always allowed.
        1 => m.registers.xcr0,
        _ => return Err(Exit::Unknown(Unsupported::Operands)),
    };
    m.words[RAX] = value & 0xffff_ffff;
    m.words[RDX] = value >> 32;
    Ok(())
}

fn read_base<const BASE: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    let value = m.word(BASE);
    m.set(u32::from(op.bits), op.register[0], value);
    Ok(())
}

fn write_base<const BASE: u8>(m: &mut Machine<'_>, op: &Op) -> Result {
    m.words[usize::from(BASE)] = m.operand(op, 0)?;
    Ok(())
}
