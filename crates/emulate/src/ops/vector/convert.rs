//! Conversions between numbers of different sizes and kinds.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::{destination_is_first_source, register, source, store, write_elements, write_register};
use crate::{
    flags::signed,
    lane::{element, set_element},
    machine::{Exit, Machine, Result, Unsupported},
    number::{self, from_signed, from_unsigned, to_signed, to_unsigned},
    op::{Handler, Kernel, Kind, Op, Rounding, Traits},
};

pub(super) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    packed(instruction, op).or_else(|| scalar(instruction, op))
}

/// Looks up a conversion of all elements: the kernel, and the sizes of an element before and after.
fn packed(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let mnemonic = instruction.mnemonic();
    let (kernel, from, to) = integers(mnemonic).or_else(|| floats(mnemonic))?;
    (op.kernel, op.from, op.element) = (kernel, from, to);
    if op.traits.has(Traits::BROADCAST) && from > to {
        // The operands do not say how many elements there are.
        return None;
    }
    // Operands narrower than a lane need not be aligned.
    if op.memory_size < 16 {
        op.traits.remove(Traits::ALIGNED);
    }
    Some(run)
}

fn integers(mnemonic: M) -> Option<(Kernel, u8, u8)> {
    let widen = |f, from, to| Some((Kernel::Element(f), from, to));
    match mnemonic {
        M::Pmovzxbw | M::Vpmovzxbw => widen(|x| x, 1, 2),
        M::Pmovzxbd | M::Vpmovzxbd => widen(|x| x, 1, 4),
        M::Pmovzxbq | M::Vpmovzxbq => widen(|x| x, 1, 8),
        M::Pmovzxwd | M::Vpmovzxwd => widen(|x| x, 2, 4),
        M::Pmovzxwq | M::Vpmovzxwq => widen(|x| x, 2, 8),
        M::Pmovzxdq | M::Vpmovzxdq => widen(|x| x, 4, 8),
        M::Pmovsxbw | M::Vpmovsxbw => widen(|x| signed(x, 8) as u64, 1, 2),
        M::Pmovsxbd | M::Vpmovsxbd => widen(|x| signed(x, 8) as u64, 1, 4),
        M::Pmovsxbq | M::Vpmovsxbq => widen(|x| signed(x, 8) as u64, 1, 8),
        M::Pmovsxwd | M::Vpmovsxwd => widen(|x| signed(x, 16) as u64, 2, 4),
        M::Pmovsxwq | M::Vpmovsxwq => widen(|x| signed(x, 16) as u64, 2, 8),
        M::Pmovsxdq | M::Vpmovsxdq => widen(|x| signed(x, 32) as u64, 4, 8),
        M::Vpmovwb => widen(|x| x, 2, 1),
        M::Vpmovdb => widen(|x| x, 4, 1),
        M::Vpmovdw => widen(|x| x, 4, 2),
        M::Vpmovqb => widen(|x| x, 8, 1),
        M::Vpmovqw => widen(|x| x, 8, 2),
        M::Vpmovqd => widen(|x| x, 8, 4),
        M::Vpmovswb => widen(|x| saturate(signed(x, 16), 8), 2, 1),
        M::Vpmovsdb => widen(|x| saturate(signed(x, 32), 8), 4, 1),
        M::Vpmovsdw => widen(|x| saturate(signed(x, 32), 16), 4, 2),
        M::Vpmovsqb => widen(|x| saturate(x.cast_signed(), 8), 8, 1),
        M::Vpmovsqw => widen(|x| saturate(x.cast_signed(), 16), 8, 2),
        M::Vpmovsqd => widen(|x| saturate(x.cast_signed(), 32), 8, 4),
        M::Vpmovuswb => widen(|x| x.min(0xff), 2, 1),
        M::Vpmovusdb => widen(|x| x.min(0xff), 4, 1),
        M::Vpmovusdw => widen(|x| x.min(0xffff), 4, 2),
        M::Vpmovusqb => widen(|x| x.min(0xff), 8, 1),
        M::Vpmovusqw => widen(|x| x.min(0xffff), 8, 2),
        M::Vpmovusqd => widen(|x| x.min(0xffff_ffff), 8, 4),
        _ => None,
    }
}

fn saturate(x: i64, bits: u32) -> u64 {
    let most = (1 << (bits - 1)) - 1;
    x.clamp(-most - 1, most) as u64
}

fn floats(mnemonic: M) -> Option<(Kernel, u8, u8)> {
    let rounded = |f, from, to| Some((Kernel::Rounded(f), from, to));
    match mnemonic {
        M::Cvtdq2ps | M::Vcvtdq2ps => {
            rounded(|x, mode| from_signed::<32>(signed(x, 32), mode), 4, 4)
        }
        M::Cvtdq2pd | M::Vcvtdq2pd => {
            rounded(|x, mode| from_signed::<64>(signed(x, 32), mode), 4, 8)
        }
        M::Vcvtqq2ps => rounded(|x, mode| from_signed::<32>(x.cast_signed(), mode), 8, 4),
        M::Vcvtqq2pd => rounded(|x, mode| from_signed::<64>(x.cast_signed(), mode), 8, 8),
        M::Vcvtudq2ps => rounded(from_unsigned::<32>, 4, 4),
        M::Vcvtudq2pd => rounded(from_unsigned::<64>, 4, 8),
        M::Vcvtuqq2ps => rounded(from_unsigned::<32>, 8, 4),
        M::Vcvtuqq2pd => rounded(from_unsigned::<64>, 8, 8),
        M::Cvtps2dq | M::Vcvtps2dq => {
            rounded(|x, mode| to_signed(number::widen(x), 32, mode), 4, 4)
        }
        M::Cvtpd2dq | M::Vcvtpd2dq => rounded(|x, mode| to_signed(x, 32, mode), 8, 4),
        M::Vcvtps2qq => rounded(|x, mode| to_signed(number::widen(x), 64, mode), 4, 8),
        M::Vcvtpd2qq => rounded(|x, mode| to_signed(x, 64, mode), 8, 8),
        M::Vcvtps2udq => rounded(|x, mode| to_unsigned(number::widen(x), 32, mode), 4, 4),
        M::Vcvtpd2udq => rounded(|x, mode| to_unsigned(x, 32, mode), 8, 4),
        M::Vcvtps2uqq => rounded(|x, mode| to_unsigned(number::widen(x), 64, mode), 4, 8),
        M::Vcvtpd2uqq => rounded(|x, mode| to_unsigned(x, 64, mode), 8, 8),
        M::Cvttps2dq | M::Vcvttps2dq => {
            rounded(|x, _| to_signed(number::widen(x), 32, Rounding::Zero), 4, 4)
        }
        M::Cvttpd2dq | M::Vcvttpd2dq => rounded(|x, _| to_signed(x, 32, Rounding::Zero), 8, 4),
        M::Vcvttps2qq => rounded(|x, _| to_signed(number::widen(x), 64, Rounding::Zero), 4, 8),
        M::Vcvttpd2qq => rounded(|x, _| to_signed(x, 64, Rounding::Zero), 8, 8),
        M::Vcvttps2udq => rounded(
            |x, _| to_unsigned(number::widen(x), 32, Rounding::Zero),
            4,
            4,
        ),
        M::Vcvttpd2udq => rounded(|x, _| to_unsigned(x, 32, Rounding::Zero), 8, 4),
        M::Vcvttps2uqq => rounded(
            |x, _| to_unsigned(number::widen(x), 64, Rounding::Zero),
            4,
            8,
        ),
        M::Vcvttpd2uqq => rounded(|x, _| to_unsigned(x, 64, Rounding::Zero), 8, 8),
        M::Cvtps2pd | M::Vcvtps2pd => rounded(|x, _| number::widen(x), 4, 8),
        M::Cvtpd2ps | M::Vcvtpd2ps => rounded(number::narrow, 8, 4),
        M::Vcvtph2ps => rounded(|x, _| number::from_half(x), 2, 4),
        M::Vcvtps2ph => rounded(number::to_half, 4, 2),
        _ => None,
    }
}

fn run(m: &mut Machine<'_>, op: &Op) -> Result {
    let (from, to) = (usize::from(op.from), usize::from(op.element));
    let count = usize::from(op.lanes) * 16 / from.max(to);
    let value = source(m, op, 1)?;
    let mut result = [0; 4];
    match op.kernel {
        Kernel::Element(f) => {
            for n in 0..count {
                set_element(&mut result, to, n, f(element(&value, from, n)));
            }
        }
        Kernel::Rounded(f) => {
            let mode = rounding(m, op)?;
            for n in 0..count {
                set_element(&mut result, to, n, f(element(&value, from, n), mode));
            }
        }
        _ => return Err(Exit::Unknown(Unsupported::Instruction)),
    }
    if op.writes_register() {
        write_elements(m, op, &result, (count * to).div_ceil(16), count);
        return Ok(());
    }
    store(m, op, &result, count * to)
}

/// Returns the rounding mode of the instruction itself or of MXCSR.
fn rounding(m: &Machine<'_>, op: &Op) -> Result<Rounding> {
    let mode = m.rounding(op)?;
    // Only `vcvtps2ph` has the mode in an immediate.
    let immediate = op.kind[2] == Kind::Immediate && op.immediate & 4 == 0;
    Ok(if immediate {
        Rounding::from_bits(op.immediate as u32)
    } else {
        mode
    })
}

/// Looks up a conversion of one number.
fn scalar(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let size = |operand: u32| match instruction.op_kind(operand) {
        OpKind::Register => instruction.op_register(operand).size() as u8,
        _ => instruction.memory_size().size() as u8,
    };
    let last = instruction.op_count().checked_sub(1)?;
    let (kernel, from, to): (fn(u64, Rounding) -> u64, u8, u8) =
        match (instruction.mnemonic(), size(last), size(0)) {
            (M::Cvtsi2ss | M::Vcvtsi2ss, 4, _) => {
                (|x, mode| from_signed::<32>(signed(x, 32), mode), 4, 4)
            }
            (M::Cvtsi2ss | M::Vcvtsi2ss, ..) => {
                (|x, mode| from_signed::<32>(x.cast_signed(), mode), 8, 4)
            }
            (M::Cvtsi2sd | M::Vcvtsi2sd, 4, _) => {
                (|x, mode| from_signed::<64>(signed(x, 32), mode), 4, 8)
            }
            (M::Cvtsi2sd | M::Vcvtsi2sd, ..) => {
                (|x, mode| from_signed::<64>(x.cast_signed(), mode), 8, 8)
            }
            (M::Vcvtusi2ss, from, _) => (from_unsigned::<32>, from, 4),
            (M::Vcvtusi2sd, from, _) => (from_unsigned::<64>, from, 8),
            (M::Cvtss2sd | M::Vcvtss2sd, ..) => (|x, _| number::widen(x), 4, 8),
            (M::Cvtsd2ss | M::Vcvtsd2ss, ..) => (number::narrow, 8, 4),
            (M::Cvtss2si | M::Vcvtss2si, _, 8) => {
                (|x, mode| to_signed(number::widen(x), 64, mode), 4, 8)
            }
            (M::Cvtss2si | M::Vcvtss2si, ..) => {
                (|x, mode| to_signed(number::widen(x), 32, mode), 4, 4)
            }
            (M::Cvtsd2si | M::Vcvtsd2si, _, 8) => (|x, mode| to_signed(x, 64, mode), 8, 8),
            (M::Cvtsd2si | M::Vcvtsd2si, ..) => (|x, mode| to_signed(x, 32, mode), 8, 4),
            (M::Cvttss2si | M::Vcvttss2si, _, 8) => {
                (|x, _| to_signed(number::widen(x), 64, Rounding::Zero), 4, 8)
            }
            (M::Cvttss2si | M::Vcvttss2si, ..) => {
                (|x, _| to_signed(number::widen(x), 32, Rounding::Zero), 4, 4)
            }
            (M::Cvttsd2si | M::Vcvttsd2si, _, 8) => (|x, _| to_signed(x, 64, Rounding::Zero), 8, 8),
            (M::Cvttsd2si | M::Vcvttsd2si, ..) => (|x, _| to_signed(x, 32, Rounding::Zero), 8, 4),
            (M::Vcvtss2usi, _, 8) => (|x, mode| to_unsigned(number::widen(x), 64, mode), 4, 8),
            (M::Vcvtss2usi, ..) => (|x, mode| to_unsigned(number::widen(x), 32, mode), 4, 4),
            (M::Vcvtsd2usi, _, 8) => (|x, mode| to_unsigned(x, 64, mode), 8, 8),
            (M::Vcvtsd2usi, ..) => (|x, mode| to_unsigned(x, 32, mode), 8, 4),
            (M::Vcvttss2usi, _, 8) => (
                |x, _| to_unsigned(number::widen(x), 64, Rounding::Zero),
                4,
                8,
            ),
            (M::Vcvttss2usi, ..) => (
                |x, _| to_unsigned(number::widen(x), 32, Rounding::Zero),
                4,
                4,
            ),
            (M::Vcvttsd2usi, _, 8) => (|x, _| to_unsigned(x, 64, Rounding::Zero), 8, 8),
            (M::Vcvttsd2usi, ..) => (|x, _| to_unsigned(x, 32, Rounding::Zero), 8, 4),
            _ => return None,
        };
    (op.kernel, op.from, op.element) = (Kernel::Rounded(kernel), from, to);
    op.lanes = 1;
    op.traits.add(Traits::SCALAR);
    if op.kind[2] == Kind::None && op.kind[1] != Kind::None {
        destination_is_first_source(op);
    }
    let general = |operand: u32| {
        instruction.op_kind(operand) == OpKind::Register
            && instruction.op_register(operand).is_gpr()
    };
    let from_general = matches!(
        instruction.mnemonic(),
        M::Cvtsi2ss | M::Vcvtsi2ss | M::Cvtsi2sd | M::Vcvtsi2sd | M::Vcvtusi2ss | M::Vcvtusi2sd
    );
    Some(match (general(0), from_general) {
        (true, _) => vector_to_general,
        (_, true) => general_to_vector,
        _ => vector_to_vector,
    })
}

fn scalar_kernel(op: &Op) -> Result<fn(u64, Rounding) -> u64> {
    match op.kernel {
        Kernel::Rounded(f) => Ok(f),
        _ => Err(Exit::Unknown(Unsupported::Instruction)),
    }
}

fn vector_to_general(m: &mut Machine<'_>, op: &Op) -> Result {
    let (f, mode) = (scalar_kernel(op)?, m.rounding(op)?);
    let value = element(&source(m, op, 2)?, op.from.into(), 0);
    m.set(op.bits.into(), op.register[0], f(value, mode));
    Ok(())
}

fn general_to_vector(m: &mut Machine<'_>, op: &Op) -> Result {
    let (f, mode) = (scalar_kernel(op)?, m.rounding(op)?);
    let value = m.sized_operand(op, 2, u32::from(op.from) * 8)?;
    merge(m, op, f(value, mode));
    Ok(())
}

fn vector_to_vector(m: &mut Machine<'_>, op: &Op) -> Result {
    let (f, mode) = (scalar_kernel(op)?, m.rounding(op)?);
    let value = element(&source(m, op, 2)?, op.from.into(), 0);
    merge(m, op, f(value, mode));
    Ok(())
}

/// Sets the lowest element to `value`; the elements above come from the first source.
fn merge(m: &mut Machine<'_>, op: &Op, value: u64) {
    let mut result = [register(m, op.register[1])[0], 0, 0, 0];
    set_element(&mut result, op.element.into(), 0, value);
    write_register(m, op, &result);
}
