//! Comparison of two states, and conversion of registers from one form to the other.

use iced_x86::RflagsBits;
use rtops_emulate::{Extended, Registers};

use crate::native::{SCRATCH_SIZE, State};

/// Converts flags from iced's numbering.
pub fn iced_flags(bits: u32) -> u32 {
    use RflagsBits as R;
    [
        (R::OF, 11),
        (R::SF, 7),
        (R::ZF, 6),
        (R::AF, 4),
        (R::CF, 0),
        (R::PF, 2),
    ]
    .iter()
    .filter(|(flag, _)| bits & flag != 0)
    .fold(0, |all, (_, place)| all | 1 << place)
}

pub fn to_registers(state: &State, rip: u64) -> Registers {
    let mut registers = Registers {
        general: state.general,
        rip,
        rflags: state.flags,
        ..Registers::default()
    };
    registers.vectors = state.vectors;
    registers.masks = state.masks;
    let word = |at: usize| u16::from_le_bytes([state.fxsave[at], state.fxsave[at + 1]]);
    registers.mxcsr = u32::from(word(24));
    let x87 = &mut registers.x87;
    x87.control = word(0);
    x87.top = (word(2) >> 11 & 7) as u8;
    x87.status = word(2) & !0x3800;
    x87.used = state.fxsave[4];
    for n in 0..8 {
        let at = 32 + 16 * n;
        x87.registers[(usize::from(x87.top) + n) % 8] = Extended {
            significand: u64::from_le_bytes(state.fxsave[at..at + 8].try_into().expect("8 bytes")),
            exponent: word(at + 8),
        };
    }
    registers
}

pub fn from_registers(registers: &Registers, state: &mut State) {
    state.general = registers.general;
    state.flags = registers.rflags;
    state.vectors = registers.vectors;
    state.masks = registers.masks;
    let x87 = &registers.x87;
    state.fxsave[..2].copy_from_slice(&x87.control.to_le_bytes());
    state.fxsave[2..4].copy_from_slice(&(x87.status | u16::from(x87.top) << 11).to_le_bytes());
    state.fxsave[4] = x87.used;
    state.fxsave[24..28].copy_from_slice(&registers.mxcsr.to_le_bytes());
    for n in 0..8 {
        let number = x87.registers[(usize::from(x87.top) + n) % 8];
        let at = 32 + 16 * n;
        state.fxsave[at..at + 8].copy_from_slice(&number.significand.to_le_bytes());
        state.fxsave[at + 8..at + 10].copy_from_slice(&number.exponent.to_le_bytes());
    }
}

/// The state of registers and memory.
pub struct Side<'a> {
    pub state: &'a State,
    pub memory: &'a [u8; SCRATCH_SIZE],
}

/// Describes the differences between the results of the interpreter and the processor, or returns
/// `None` if there are none. Undefined flags do not count.
pub fn difference(
    before: &State,
    ours: &Side<'_>,
    theirs: &Side<'_>,
    undefined: u64,
) -> Option<String> {
    let mut parts = Vec::new();
    let mut part = |name: &str,
                    before: &dyn std::fmt::Debug,
                    theirs: &dyn std::fmt::Debug,
                    ours: &dyn std::fmt::Debug| {
        parts.push(format!("{name} {before:x?} -> {theirs:x?}, not {ours:x?}"));
    };
    let (our_state, their_state) = (ours.state, theirs.state);
    for (n, (a, b)) in our_state
        .general
        .iter()
        .zip(&their_state.general)
        .enumerate()
    {
        if a != b {
            part(&format!("r{n}"), &before.general[n], b, a);
        }
    }
    let defined = 0xcd5 & !undefined;
    if (our_state.flags ^ their_state.flags) & defined != 0 {
        part("flags", &before.flags, &their_state.flags, &our_state.flags);
    }
    let (lanes, count) = our_state.vector_shape();
    for n in 0..count {
        let (a, b) = (
            &our_state.vectors[n][..lanes],
            &their_state.vectors[n][..lanes],
        );
        if a != b {
            part(&format!("v{n}"), &before.vectors[n], &b, &a);
        }
    }
    if our_state.masks != their_state.masks {
        part("masks", &before.masks, &their_state.masks, &our_state.masks);
    }
    if x87(our_state) != x87(their_state) {
        part("x87", &x87(before), &x87(their_state), &x87(our_state));
    }
    if ours.memory != theirs.memory
        && let Some(at) = (0..SCRATCH_SIZE).find(|&at| ours.memory[at] != theirs.memory[at])
    {
        let range = at..(at + 64).min(SCRATCH_SIZE);
        part(
            "memory",
            &at,
            &&theirs.memory[range.clone()],
            &&ours.memory[range],
        );
    }
    if parts.is_empty() {
        return None;
    }
    Some(format!(
        "{}; before: {:x?}",
        parts.join("; "),
        before.general
    ))
}

/// Returns the control word, the tags and the numbers, and of the status only TOP, C0, C2 and C3:
/// the interpreter keeps no exception bits, and C1 only says which way the result was rounded.
fn x87(state: &State) -> impl PartialEq + std::fmt::Debug {
    let numbers: Vec<[u8; 10]> = (0..8)
        .map(|n| {
            state.fxsave[32 + 16 * n..42 + 16 * n]
                .try_into()
                .expect("10 bytes")
        })
        .collect();
    (
        state.fxsave[0],
        state.fxsave[1],
        state.fxsave[3] & 0x7d,
        state.fxsave[4],
        numbers,
    )
}
