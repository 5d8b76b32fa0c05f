//! What an instruction does, as far as stepping has to know: a look at its prefixes and its opcode.

/// What the start of an instruction tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opcode {
    Other,
    /// A call within the 64-bit world.
    Call,
    /// `syscall`, so many bytes long with its prefixes.
    Syscall {
        length: usize,
    },
    /// It enters the kernel by another door, saves or restores the flags, changes the thread pointer,
    /// holds traps back, or is a trap of its own.
    Forbidden,
}

/// Judges the instruction that these bytes start with. One that is cut off is forbidden.
pub(super) fn opcode(bytes: &[u8]) -> Opcode {
    let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte)).count();
    let is_repeat = bytes.iter().take(prefixes).any(|byte| *byte == 0xf3);
    let mut rest = bytes.get(prefixes..).unwrap_or_default();
    if let [0x40..=0x4f, behind @ ..] = rest {
        rest = behind;
    }
    match rest {
        [0x0f, 0x05, ..] => Opcode::Syscall {
            length: bytes.len() - rest.len() + 2,
        },
        // sysenter, sysexit, sysret, lss, lfs, lgs.
        [0x0f, 0x34 | 0x35 | 0x07 | 0xb2 | 0xb4 | 0xb5, ..] => Opcode::Forbidden,
        // wrfsbase. Its likes without the prefix, or in memory, store and restore registers.
        [0x0f, 0xae, modrm, ..]
            if is_repeat && *modrm >> 6 == 3 && matches!(field(*modrm), 2 | 3) =>
        {
            Opcode::Forbidden
        }
        // pushf, whose word would bring the trap flag back when it is popped, popf, int1, int3, int,
        // iret, and far returns.
        [0x9c | 0x9d | 0xf1 | 0xcc | 0xcd | 0xcf | 0xca | 0xcb, ..] => Opcode::Forbidden,
        // mov to ss, fs and gs.
        [0x8e, modrm, ..] if matches!(field(*modrm), 2 | 4 | 5) => Opcode::Forbidden,
        [0xe8, ..] => Opcode::Call,
        [0xff, modrm, ..] => match field(*modrm) {
            2 => Opcode::Call,
            // Far calls and jumps.
            3 | 5 => Opcode::Forbidden,
            _ => Opcode::Other,
        },
        [] | [0x0f | 0x8e] => Opcode::Forbidden,
        _ => Opcode::Other,
    }
}

/// Operand and address size, segments, lock, repeat.
const fn is_prefix(byte: u8) -> bool {
    matches!(
        byte,
        0x66 | 0x67 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3
    )
}

/// The part of the byte behind the opcode that selects among several instructions.
const fn field(modrm: u8) -> u8 {
    (modrm >> 3) & 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_jumps_and_returns() {
        for call in [
            &[0xe8, 1, 2, 3, 4][..],
            &[0xff, 0xd0],
            &[0xff, 0x15, 1, 2, 3, 4],
            &[0x41, 0xff, 0xd7],
            &[0x67, 0xe8, 1, 2, 3, 4],
            &[0x3e, 0xff, 0xd0],
            &[0x66, 0x48, 0xe8, 1, 2, 3, 4],
            &[0xff, 0x50, 0x18],
        ] {
            assert_eq!(opcode(call), Opcode::Call, "{call:x?}");
        }
        for other in [
            &[0xe9, 1, 2, 3, 4][..],
            &[0xff, 0xe0],
            &[0xc3],
            &[0xf3, 0xc3],
            &[0xf3, 0x48, 0xa5],
            &[0x55],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            // stmxcsr and fxsave.
            &[0x0f, 0xae, 0x18],
            &[0x0f, 0xae, 0x00],
            &[0x8e, 0xd8],
        ] {
            assert_eq!(opcode(other), Opcode::Other, "{other:x?}");
        }
    }

    #[test]
    fn the_doors_to_the_kernel_are_known() {
        assert_eq!(opcode(&[0x0f, 0x05, 0xc3]), Opcode::Syscall { length: 2 });
        assert_eq!(opcode(&[0x48, 0x0f, 0x05]), Opcode::Syscall { length: 3 });
        for forbidden in [
            &[0xcd, 0x80][..],
            &[0x0f, 0x34],
            &[0x9c],
            &[0x9d],
            &[0x66, 0x9d],
            &[0xcf],
            &[0x48, 0xcf],
            &[0xcc],
            &[0xf1],
            &[0x8e, 0xd0],
            &[0x8e, 0xe0],
            &[0xf3, 0x48, 0x0f, 0xae, 0xd0],
            &[0xff, 0x18],
            &[0xcb],
            // Cut off.
            &[0x66],
            &[0x0f],
            &[],
        ] {
            assert_eq!(opcode(forbidden), Opcode::Forbidden, "{forbidden:x?}");
        }
    }
}
