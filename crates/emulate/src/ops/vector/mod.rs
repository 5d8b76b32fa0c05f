//! SSE, AVX and AVX-512: what all vector instructions have in common.
//!
//! Most of them do the same to each 128-bit lane. Tables map the mnemonic to a function of lanes,
//! and the code here reads operands, applies masks and writes results.

mod convert;
mod crypto;
mod float;
mod fma;
mod gather;
mod integer;
mod mask;
mod moves;
mod shift;
mod shuffle;
mod text;
mod wide;

use iced_x86::{Code, EncodingKind, Instruction, Mnemonic as M, Register, RoundingControl};

use crate::{
    lane::{element, from_bytes, set_element, to_bytes},
    machine::{Exit, Machine, Result, Unsupported},
    op::{Handler, Kernel, Kind, Op, Traits},
    registers::Vector,
    source::Wanted,
};

/// How a vector instruction is computed.
struct Entry {
    kernel: Kernel,
    /// The size of an element, in bytes, which masks, broadcasts and scalar forms use.
    element: u8,
    /// The number of bits of the immediate that each lane uses up.
    immediate_bits: u8,
    traits: Traits,
}

impl Entry {
    fn new(kernel: Kernel, element: u8) -> Self {
        Self {
            kernel,
            element,
            immediate_bits: 0,
            traits: Traits::default(),
        }
    }

    /// Marks an instruction that rounds or raises exceptions.
    fn float(mut self) -> Self {
        self.traits.add(Traits::FLOAT);
        self
    }

    /// Marks an instruction that computes only the lowest element.
    fn scalar(mut self) -> Self {
        self.traits.add(Traits::SCALAR);
        self
    }

    /// Marks an instruction whose lanes all use the lowest lane of the second operand.
    fn uniform(mut self) -> Self {
        self.traits.add(Traits::UNIFORM);
        self.whole()
    }

    /// Marks an instruction whose result elements each depend on several elements of a source.
    fn whole(mut self) -> Self {
        self.traits.add(Traits::WHOLE);
        self
    }

    fn immediate_bits(mut self, bits: u8) -> Self {
        self.immediate_bits = bits;
        self
    }
}

fn one(element: u8, f: fn(u128) -> u128) -> Option<Entry> {
    Some(Entry::new(Kernel::One(f), element))
}

fn one_immediate(element: u8, f: fn(u128, u8) -> u128) -> Option<Entry> {
    Some(Entry::new(Kernel::OneImmediate(f), element))
}

fn two(element: u8, f: fn(u128, u128) -> u128) -> Option<Entry> {
    Some(Entry::new(Kernel::Two(f), element))
}

fn two_immediate(element: u8, f: fn(u128, u128, u8) -> u128) -> Option<Entry> {
    Some(Entry::new(Kernel::TwoImmediate(f), element))
}

fn three(element: u8, f: fn(u128, u128, u128) -> u128) -> Option<Entry> {
    Some(Entry::new(Kernel::Three(f), element))
}

pub(crate) fn handler(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let uses = |test: fn(Register) -> bool| {
        (0..instruction.op_count()).any(|n| test(instruction.op_register(n)))
    };
    if uses(Register::is_mm) || uses(Register::is_st) || uses(Register::is_tmm) {
        return None;
    }
    prepare(instruction, op)?;
    if let Some(handler) = moves::handler(instruction, op)
        .or_else(|| mask::handler(instruction, op))
        .or_else(|| convert::handler(instruction, op))
        .or_else(|| float::handler(instruction, op))
        .or_else(|| wide::handler(instruction, op))
        .or_else(|| text::handler(instruction, op))
        .or_else(|| gather::handler(instruction, op))
    {
        return Some(handler);
    }
    let mnemonic = instruction.mnemonic();
    let entry = integer::entry(mnemonic)
        .or_else(|| shift::entry(instruction))
        .or_else(|| shuffle::entry(instruction))
        .or_else(|| float::entry(instruction))
        .or_else(|| fma::entry(mnemonic))
        .or_else(|| crypto::entry(mnemonic))?;
    arrange(instruction, op, &entry)?;
    Some(match op.kernel {
        _ if op.writes_register() && instruction.op0_register().is_k() => run_to_mask,
        Kernel::Two(_) if is_plain(op) => run_two,
        _ => run_lanes,
    })
}

/// Returns the function of two lanes, if each element of the result depends on only
/// one element of each source.
pub(crate) fn two_lanes(mnemonic: M) -> Option<Kernel> {
    let entry = integer::entry(mnemonic)?;
    (!entry.traits.has(Traits::WHOLE)).then_some(entry.kernel)
}

/// Fills in the EVEX fields and the width of the operands.
fn prepare(instruction: &Instruction, op: &mut Op) -> Option<()> {
    let vector_size = (0..instruction.op_count())
        .map(|n| instruction.op_register(n))
        .filter(|register| register.is_vector_register())
        .map(Register::size)
        .max();
    let memory = if instruction.is_broadcast() {
        0
    } else {
        usize::from(op.memory_size)
    };
    op.lanes = (vector_size.unwrap_or(0).max(memory).div_ceil(16)).clamp(1, 4) as u8;
    if instruction.is_broadcast() {
        op.traits.add(Traits::BROADCAST);
    }
    if instruction.zeroing_masking() {
        op.traits.add(Traits::ZEROING);
    }
    op.mask = match instruction.op_mask() {
        Register::None => 0,
        mask => mask.number() as u8,
    };
    op.rounding = match instruction.rounding_control() {
        RoundingControl::None => 0,
        RoundingControl::RoundToNearest => 1,
        RoundingControl::RoundDown => 2,
        RoundingControl::RoundUp => 3,
        _ => 4,
    };
    match instruction.encoding() {
        EncodingKind::Legacy => {
            op.traits.add(Traits::LEGACY);
            // Whole lanes must be aligned, unless the name says "unaligned".
            if op.memory_size == 16 && !is_unaligned(instruction.mnemonic()) {
                op.traits.add(Traits::ALIGNED);
            }
        }
        EncodingKind::VEX | EncodingKind::EVEX => {}
        _ => return None,
    }
    Some(())
}

fn is_unaligned(mnemonic: M) -> bool {
    matches!(
        mnemonic,
        M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            | M::Pcmpestri
            | M::Pcmpestrm
            | M::Pcmpistri
            | M::Pcmpistrm
    )
}

/// Puts the operands where [`run_lanes`] looks for them: the destination, then the first,
/// second and third source.
fn arrange(instruction: &Instruction, op: &mut Op, entry: &Entry) -> Option<()> {
    op.kernel = entry.kernel;
    op.element = entry.element;
    op.immediate_bits = entry.immediate_bits;
    op.traits.add(entry.traits);
    if op.traits.has(Traits::FLOAT) && op.rounding > 1 {
        return None;
    }
    if op.traits.has(Traits::LEGACY) && op.traits.has(Traits::FLOAT) {
        // Comparisons have 8 predicates, not 32.
        op.immediate &= if matches!(instruction.mnemonic(), M::Dpps | M::Dppd) {
            0xff
        } else {
            7
        };
    }
    let sources = match entry.kernel {
        Kernel::One(_) | Kernel::OneImmediate(_) => 1,
        _ => 2,
    };
    let operands = op
        .kind
        .iter()
        .filter(|kind| matches!(kind, Kind::Register | Kind::Memory))
        .count();
    if operands == sources && op.traits.has(Traits::LEGACY) {
        destination_is_first_source(op);
    } else if operands < sources + 1 {
        return None;
    }
    if operands < 4 {
        op.register[3] = if implicit_xmm0(instruction.code()) {
            0
        } else {
            op.register[0]
        };
    }
    (op.kind[0] == Kind::Register).then_some(())
}

/// Turns two operands into three, as with VEX.
fn destination_is_first_source(op: &mut Op) {
    op.kind[2] = op.kind[1];
    op.register[2] = op.register[1];
    op.kind[1] = Kind::Register;
    op.register[1] = op.register[0];
}

fn implicit_xmm0(code: Code) -> bool {
    matches!(
        code,
        Code::Pblendvb_xmm_xmmm128
            | Code::Blendvps_xmm_xmmm128
            | Code::Blendvpd_xmm_xmmm128
            | Code::Sha256rnds2_xmm_xmmm128
    )
}

/// Returns whether the instruction works on one lane of registers, without a mask or other traits.
fn is_plain(op: &Op) -> bool {
    op.mask == 0
        && op.lanes == 1
        && op.kind[2] == Kind::Register
        && !op.traits.has(Traits::SCALAR)
        && !op.traits.has(Traits::FLOAT)
        && !op.traits.has(Traits::UNIFORM)
}

/// Computes a lane from two registers, without a mask.
fn run_two(m: &mut Machine<'_>, op: &Op) -> Result {
    let Kernel::Two(f) = op.kernel else {
        return Err(Exit::Unknown(Unsupported::Instruction));
    };
    let result = f(
        register(m, op.register[1])[0],
        register(m, op.register[2])[0],
    );
    set_lane(m, op, result);
    Ok(())
}

/// Sets the lowest lane of the destination, and clears the others unless the encoding keeps them.
#[inline]
fn set_lane(m: &mut Machine<'_>, op: &Op, lane: u128) {
    let legacy = op.traits.has(Traits::LEGACY);
    let to = register_mut(m, op.register[0]);
    to[0] = lane;
    if !legacy {
        to[1..].fill(0);
    }
}

fn run_lanes(m: &mut Machine<'_>, op: &Op) -> Result {
    let result = compute_lanes(m, op)?;
    write_register(m, op, &result);
    Ok(())
}

/// Compares into a mask: a bit for each element, instead of all the bits of the element.
fn run_to_mask(m: &mut Machine<'_>, op: &Op) -> Result {
    let result = compute_lanes(m, op)?;
    let size = usize::from(op.element);
    let count = if op.traits.has(Traits::SCALAR) {
        1
    } else {
        usize::from(op.lanes) * 16 / size
    };
    let mut bits = 0;
    for n in 0..count {
        bits |= (element(&result, size, n) >> (8 * size - 1) & 1) << n;
    }
    m.registers.masks[usize::from(op.register[0] & 7)] = bits & mask_bits(m, op);
    Ok(())
}

fn compute_lanes(m: &mut Machine<'_>, op: &Op) -> Result<Vector> {
    if op.traits.has(Traits::FLOAT) {
        m.check_default_floats()?;
    }
    let immediate = |lane: usize| (op.immediate >> (lane * usize::from(op.immediate_bits))) as u8;
    let mut result = [0; 4];
    let lanes = result.iter_mut().take(usize::from(op.lanes)).enumerate();
    match op.kernel {
        Kernel::One(f) => {
            let a = source(m, op, 1)?;
            lanes.for_each(|(n, lane)| *lane = f(a[n]));
        }
        Kernel::OneImmediate(f) => {
            let a = source(m, op, 1)?;
            lanes.for_each(|(n, lane)| *lane = f(a[n], immediate(n)));
        }
        Kernel::Two(f) => {
            let (a, b) = (source(m, op, 1)?, second_source(m, op)?);
            lanes.for_each(|(n, lane)| *lane = f(a[n], b[n]));
        }
        Kernel::TwoImmediate(f) => {
            let (a, b) = (source(m, op, 1)?, second_source(m, op)?);
            lanes.for_each(|(n, lane)| *lane = f(a[n], b[n], immediate(n)));
        }
        Kernel::Three(f) => {
            let (a, b, c) = (
                source(m, op, 1)?,
                source(m, op, 2)?,
                *register(m, op.register[3]),
            );
            lanes.for_each(|(n, lane)| *lane = f(c[n], a[n], b[n]));
        }
        Kernel::ThreeImmediate(f) => {
            let (a, b, c) = (
                source(m, op, 1)?,
                source(m, op, 2)?,
                *register(m, op.register[3]),
            );
            lanes.for_each(|(n, lane)| *lane = f(c[n], a[n], b[n], immediate(n)));
        }
        _ => return Err(Exit::Unknown(Unsupported::Instruction)),
    }
    if op.traits.has(Traits::SCALAR) {
        // The elements above come from the first source, or from the destination if it is a source.
        let above = match op.kernel {
            Kernel::Three(_) => op.register[3],
            _ => op.register[1],
        };
        let value = element(&result, op.element.into(), 0);
        result = [register(m, above)[0], 0, 0, 0];
        set_element(&mut result, op.element.into(), 0, value);
    }
    Ok(result)
}

#[inline]
fn register<'a>(m: &'a Machine<'_>, number: u8) -> &'a Vector {
    &m.registers.vectors[usize::from(number & 31)]
}

#[inline]
fn register_mut<'a>(m: &'a mut Machine<'_>, number: u8) -> &'a mut Vector {
    &mut m.registers.vectors[usize::from(number & 31)]
}

/// Returns a vector operand.
#[inline]
fn source(m: &mut Machine<'_>, op: &Op, operand: usize) -> Result<Vector> {
    match op.kind[operand & 3] {
        Kind::Register => Ok(*register(m, op.register[operand & 3])),
        Kind::Memory => load(m, op),
        _ => Err(Exit::Unknown(Unsupported::Operands)),
    }
}

fn second_source(m: &mut Machine<'_>, op: &Op) -> Result<Vector> {
    let vector = source(m, op, 2)?;
    Ok(if op.traits.has(Traits::UNIFORM) {
        [vector[0]; 4]
    } else {
        vector
    })
}

/// Reads the memory operand; bytes that it does not fill are 0.
fn load(m: &mut Machine<'_>, op: &Op) -> Result<Vector> {
    let address = m.address(op);
    let size = usize::from(op.memory_size).min(64);
    if op.traits.has(Traits::ALIGNED) {
        m.check_aligned(address, u64::from(op.memory_size), Wanted::Read)?;
    }
    if op.traits.has(Traits::BROADCAST) {
        let value = m.load(op.memory_size as u32 * 8, address)?;
        let lane = match size {
            8 => u128::from(value) | u128::from(value) << 64,
            4 => u128::from(value) * 0x1_0000_0001_0000_0001_0000_0001,
            _ => return Err(Exit::Unknown(Unsupported::Operands)),
        };
        return Ok([lane; 4]);
    }
    if op.mask != 0 && !op.traits.has(Traits::WHOLE) {
        return load_masked(m, op, address, size);
    }
    Ok(match size {
        4 => [u128::from(m.load(32, address)?), 0, 0, 0],
        8 => [u128::from(m.load(64, address)?), 0, 0, 0],
        16 => [u128::from_le_bytes(m.memory.load(address)?), 0, 0, 0],
        _ => {
            let mut bytes = [0; 64];
            m.memory.load_slice(address, &mut bytes[..size])?;
            from_bytes(&bytes)
        }
    })
}

/// Reads the elements that the mask selects; the others cannot fault.
fn load_masked(m: &mut Machine<'_>, op: &Op, address: u64, size: usize) -> Result<Vector> {
    let element = usize::from(if op.from != 0 { op.from } else { op.element });
    if element == 0 || !matches!(element, 1 | 2 | 4 | 8) {
        return Err(Exit::Unknown(Unsupported::Operands));
    }
    let bits = mask_bits(m, op);
    let mut vector = [0; 4];
    for n in 0..size / element {
        if bits >> n & 1 != 0 {
            let value = m.load(
                element as u32 * 8,
                address.wrapping_add((n * element) as u64),
            )?;
            set_element(&mut vector, element, n, value);
        }
    }
    Ok(vector)
}

/// Returns a bit for each element to be computed.
#[inline]
fn mask_bits(m: &Machine<'_>, op: &Op) -> u64 {
    if op.mask == 0 {
        u64::MAX
    } else {
        m.registers.masks[usize::from(op.mask & 7)]
    }
}

/// Sets the destination register. Elements that the mask leaves out stay unchanged or become 0.
fn write_register(m: &mut Machine<'_>, op: &Op, result: &Vector) {
    let elements = if op.traits.has(Traits::SCALAR) { 1 } else { 64 };
    write_elements(m, op, result, usize::from(op.lanes), elements);
}

/// Sets the destination register, which has this many lanes. The mask applies to the first
/// `elements` elements.
fn write_elements(m: &mut Machine<'_>, op: &Op, result: &Vector, lanes: usize, elements: usize) {
    let mut bits = mask_bits(m, op);
    if elements < 64 {
        bits |= u64::MAX << elements;
    }
    let zeroing = op.traits.has(Traits::ZEROING);
    let legacy = op.traits.has(Traits::LEGACY);
    let size = usize::from(op.element).max(1);
    let to = register_mut(m, op.register[0]);
    if op.mask == 0 {
        to[..lanes].copy_from_slice(&result[..lanes]);
    } else {
        let old = *to;
        for n in 0..lanes * 16 / size {
            let value = match (bits >> n & 1 != 0, zeroing) {
                (true, _) => element(result, size, n),
                (false, true) => 0,
                (false, false) => element(&old, size, n),
            };
            set_element(to, size, n, value);
        }
    }
    if !legacy {
        to[lanes..].fill(0);
    }
}

/// Writes the lowest `size` bytes to memory, except elements that the mask leaves out.
fn store(m: &mut Machine<'_>, op: &Op, vector: &Vector, size: usize) -> Result {
    let address = m.address(op);
    if op.traits.has(Traits::ALIGNED) {
        m.check_aligned(address, size as u64, Wanted::Write)?;
    }
    let bytes = to_bytes(vector);
    if op.mask == 0 {
        m.memory.store_slice(address, &bytes[..size.min(64)])?;
        return Ok(());
    }
    let bits = mask_bits(m, op);
    let element = usize::from(op.element).max(1);
    let selected = |n: &usize| bits >> n & 1 != 0;
    let elements = size.min(64) / element;
    if op.traits.has(Traits::WHOLE) {
        let mut old = [0; 64];
        m.memory
            .load_slice(address, &mut old[..elements * element])?;
        for n in (0..elements).filter(selected) {
            let place = n * element..(n + 1) * element;
            old[place.clone()].copy_from_slice(&bytes[place]);
        }
        m.memory.store_slice(address, &old[..elements * element])?;
        return Ok(());
    }
    for n in (0..elements).filter(selected) {
        let place = n * element;
        m.memory.store_slice(
            address.wrapping_add(place as u64),
            &bytes[place..place + element],
        )?;
    }
    Ok(())
}
