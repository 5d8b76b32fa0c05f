//! Instructions that save and restore the x87 and vector state as a whole: `fxsave`,
//! `xsave` and their variants.
//!
//! The dynamic linker saves vectors around the first call of a function with `xsavec` and `xrstor`.
//! In the standard form, the offset of the AVX-512 state differs between processors, so only the
//! compacted form is supported for it.

use iced_x86::{Instruction, Mnemonic as M};

use crate::{
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Op},
    registers::Registers,
    source::Wanted,
    x87::{Extended, X87},
};

// State components.
const FPU: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const MASKS: u64 = 1 << 5;
/// The upper halves of `zmm0` to `zmm15`.
const UPPER_HALVES: u64 = 1 << 6;
/// `zmm16` to `zmm31`.
const UPPER_REGISTERS: u64 = 1 << 7;
const KNOWN: u64 = FPU | SSE | AVX | MASKS | UPPER_HALVES | UPPER_REGISTERS;

/// The offset of the header, which follows the `fxsave` area.
const HEADER: u64 = 512;
/// The offset of the extended components, which follow the header.
const EXTENDED_AREA: u64 = HEADER + 64;
const COMPACTED: u64 = 1 << 63;
const DEFAULT_MXCSR: u32 = 0x1f80;

pub(crate) fn handler(instruction: &Instruction, _: &mut Op) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        M::Fxsave | M::Fxsave64 => fxsave,
        M::Fxrstor | M::Fxrstor64 => fxrstor,
        M::Xsave | M::Xsave64 | M::Xsaveopt | M::Xsaveopt64 => xsave::<false>,
        M::Xsavec | M::Xsavec64 => xsave::<true>,
        M::Xrstor | M::Xrstor64 => xrstor,
        _ => return None,
    })
}

/// Returns the enabled components among those that `edx:eax` asks for.
fn requested(m: &Machine<'_>) -> Result<u64> {
    let wanted = m.words[Registers::RDX] << 32 | m.words[Registers::RAX] & 0xffff_ffff;
    let enabled = wanted & m.registers.xcr0;
    if enabled & !KNOWN == 0 {
        Ok(enabled)
    } else {
        Err(Exit::Unknown(Unsupported::Operands))
    }
}

/// Returns the components that differ from their reset state.
fn in_use(registers: &Registers) -> u64 {
    let mut used = 0;
    let lanes = |range: std::ops::Range<usize>, first: usize, last: usize| {
        registers.vectors[range]
            .iter()
            .any(|vector| vector[first..last].iter().any(|&lane| lane != 0))
    };
    let parts = [
        (FPU, registers.x87 != X87::default()),
        (SSE, lanes(0..16, 0, 1) || registers.mxcsr != DEFAULT_MXCSR),
        (AVX, lanes(0..16, 1, 2)),
        (MASKS, registers.masks != [0; 8]),
        (UPPER_HALVES, lanes(0..16, 2, 4)),
        (UPPER_REGISTERS, lanes(16..32, 0, 4)),
    ];
    for (component, is_used) in parts {
        used |= if is_used { component } else { 0 };
    }
    used
}

/// Yields the components with their offsets, in the order of their bits.
fn layout(present: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut offset = EXTENDED_AREA;
    [
        (AVX, 256),
        (MASKS, 64),
        (UPPER_HALVES, 512),
        (UPPER_REGISTERS, 1024),
    ]
    .into_iter()
    .filter_map(move |(component, size)| {
        if present & component == 0 {
            return None;
        }
        offset += size;
        Some((component, offset - size))
    })
}

fn x87_bytes(x87: &X87) -> [u8; 160] {
    let mut bytes = [0; 160];
    bytes[..2].copy_from_slice(&x87.control.to_le_bytes());
    let status = x87.status & !0x3800 | u16::from(x87.top & 7) << 11;
    bytes[2..4].copy_from_slice(&status.to_le_bytes());
    bytes[4] = x87.used;
    for (n, place) in bytes[32..].chunks_exact_mut(16).enumerate() {
        let number = x87.registers[(usize::from(x87.top) + n) % 8];
        place[..8].copy_from_slice(&number.significand.to_le_bytes());
        place[8..10].copy_from_slice(&number.exponent.to_le_bytes());
    }
    bytes
}

fn x87_from_bytes(bytes: &[u8; 160]) -> X87 {
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let status = word(2);
    let mut x87 = X87 {
        control: word(0) & 0x1f7f | 0x40,
        status: status & !0x3800,
        top: (status >> 11 & 7) as u8,
        used: bytes[4],
        ..X87::default()
    };
    for (n, place) in bytes[32..].chunks_exact(16).enumerate() {
        let significand = place[..8]
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | u64::from(byte));
        let exponent = u16::from_le_bytes([place[8], place[9]]);
        x87.registers[(usize::from(x87.top) + n) % 8] = Extended {
            significand,
            exponent,
        };
    }
    x87
}

/// Writes the parts of the `fxsave` area that belong to these components.
fn save_legacy(m: &mut Machine<'_>, address: u64, components: u64) -> Result {
    if components & FPU != 0 {
        let bytes = x87_bytes(&m.registers.x87);
        m.memory.store_slice(address, &bytes[..24])?;
        m.memory
            .store_slice(address.wrapping_add(32), &bytes[32..])?;
    }
    if components & SSE != 0 {
        for n in 0..16 {
            let lane = m.registers.vectors[n][0];
            m.memory.store(
                address.wrapping_add(160 + 16 * n as u64),
                lane.to_le_bytes(),
            )?;
        }
    }
    if components & (SSE | AVX) != 0 {
        m.store(32, address.wrapping_add(24), m.registers.mxcsr.into())?;
        m.store(32, address.wrapping_add(28), 0xffff)?;
    }
    Ok(())
}

fn fxsave(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    m.check_aligned(address, 16, Wanted::Write)?;
    save_legacy(m, address, FPU | SSE)
}

fn fxrstor(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    m.check_aligned(address, 16, Wanted::Read)?;
    let mut registers = m.registers.clone();
    restore_legacy(m, address, FPU | SSE, &mut registers)?;
    m.registers = registers;
    Ok(())
}

fn restore_legacy(
    m: &mut Machine<'_>,
    address: u64,
    components: u64,
    registers: &mut Registers,
) -> Result {
    if components & FPU != 0 {
        let bytes: [u8; 160] = m.memory.load(address)?;
        registers.x87 = x87_from_bytes(&bytes);
    }
    if components & SSE != 0 {
        for n in 0..16 {
            let bytes = m.memory.load(address.wrapping_add(160 + 16 * n as u64))?;
            registers.vectors[n][0] = u128::from_le_bytes(bytes);
        }
        registers.mxcsr = m.load(32, address.wrapping_add(24))? as u32 & 0xffff;
    }
    Ok(())
}

fn xsave<const COMPACT: bool>(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    m.check_aligned(address, 64, Wanted::Write)?;
    let requested = requested(m)?;
    let used = in_use(&m.registers);
    let written = requested & if COMPACT { used } else { KNOWN };
    if !COMPACT && requested & !(FPU | SSE | AVX) != 0 {
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    save_legacy(m, address, written)?;
    for (component, offset) in layout(requested).filter(|(component, _)| written & component != 0) {
        let bytes = component_bytes(&m.registers, component);
        m.memory.store_slice(address.wrapping_add(offset), &bytes)?;
    }
    let header = address.wrapping_add(HEADER);
    if COMPACT {
        m.store(64, header, written)?;
        m.store(64, header.wrapping_add(8), requested | COMPACTED)?;
    } else {
        // The bits of the other components keep their value in memory.
        let old = m.load(64, header)?;
        m.store(64, header, old & !requested | requested & used)?;
    }
    Ok(())
}

fn component_bytes(registers: &Registers, component: u64) -> Vec<u8> {
    match component {
        AVX => registers.vectors[..16]
            .iter()
            .flat_map(|vector| vector[1].to_le_bytes())
            .collect(),
        MASKS => registers
            .masks
            .iter()
            .flat_map(|mask| mask.to_le_bytes())
            .collect(),
        UPPER_HALVES => registers.vectors[..16]
            .iter()
            .flat_map(|v| [v[2], v[3]])
            .flat_map(u128::to_le_bytes)
            .collect(),
        _ => registers.vectors[16..]
            .iter()
            .flatten()
            .flat_map(|lane| lane.to_le_bytes())
            .collect(),
    }
}

fn xrstor(m: &mut Machine<'_>, op: &Op) -> Result {
    let address = m.address(op);
    m.check_aligned(address, 64, Wanted::Read)?;
    let requested = requested(m)?;
    let header = address.wrapping_add(HEADER);
    let (present, compaction) = (m.load(64, header)?, m.load(64, header.wrapping_add(8))?);
    let compacted = compaction & COMPACTED != 0;
    let laid_out = if compacted {
        compaction & !COMPACTED
    } else {
        AVX | present
    };
    if laid_out & !KNOWN != 0 || !compacted && requested & present & !(FPU | SSE | AVX) != 0 {
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    let mut registers = m.registers.clone();
    reset(&mut registers, requested);
    let restored = requested & present;
    restore_legacy(m, address, restored, &mut registers)?;
    if !compacted && requested & (SSE | AVX) != 0 {
        registers.mxcsr = m.load(32, address.wrapping_add(24))? as u32 & 0xffff;
    }
    for (component, offset) in layout(laid_out).filter(|(component, _)| restored & component != 0) {
        restore_component(m, address.wrapping_add(offset), component, &mut registers)?;
    }
    m.registers = registers;
    Ok(())
}

/// Puts these components into their reset state.
fn reset(registers: &mut Registers, components: u64) {
    if components & FPU != 0 {
        registers.x87 = X87::default();
    }
    if components & SSE != 0 {
        registers.mxcsr = DEFAULT_MXCSR;
    }
    if components & MASKS != 0 {
        registers.masks = [0; 8];
    }
    for (component, lanes) in [(SSE, 0..1), (AVX, 1..2), (UPPER_HALVES, 2..4)] {
        if components & component != 0 {
            registers.vectors[..16]
                .iter_mut()
                .for_each(|vector| vector[lanes.clone()].fill(0));
        }
    }
    if components & UPPER_REGISTERS != 0 {
        registers.vectors[16..].fill([0; 4]);
    }
}

fn restore_component(
    m: &mut Machine<'_>,
    address: u64,
    component: u64,
    registers: &mut Registers,
) -> Result {
    if component == MASKS {
        for (n, mask) in registers.masks.iter_mut().enumerate() {
            *mask = m.load(64, address.wrapping_add(8 * n as u64))?;
        }
        return Ok(());
    }
    let (vectors, lanes) = match component {
        AVX => (0..16, 1..2),
        UPPER_HALVES => (0..16, 2..4),
        _ => (16..32, 0..4),
    };
    let places = registers.vectors[vectors]
        .iter_mut()
        .flat_map(|vector| &mut vector[lanes.clone()]);
    for (n, lane) in places.enumerate() {
        *lane = u128::from_le_bytes(m.memory.load(address.wrapping_add(16 * n as u64))?);
    }
    Ok(())
}
