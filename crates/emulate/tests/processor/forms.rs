//! Instructions to try: one of each form, with random operands.

use iced_x86::{
    Code, CodeSize, CpuidFeature, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction,
    MemorySize, Mnemonic, OpCodeOperandKind as K, OpKind, Register, RoundingControl,
};

use crate::random::Random;

/// Returns all the ways in which an instruction can be encoded.
pub fn all() -> impl Iterator<Item = Code> {
    Code::values().filter(|code| {
        let info = code.op_code();
        info.is_instruction()
            && info.mode64()
            && info.cpl3()
            && !info.is_privileged()
            && info.long_mode()
    })
}

/// Returns whether the processor that runs this test has the instruction. Features that are not
/// listed are not compared.
pub fn is_available(code: Code) -> bool {
    code.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::INTEL8086
        | CpuidFeature::INTEL186
        | CpuidFeature::INTEL286
        | CpuidFeature::INTEL386 => true,
        CpuidFeature::INTEL486 | CpuidFeature::X64 | CpuidFeature::CMOV | CpuidFeature::CX8 => true,
        CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::FXSR => {
            true
        }
        CpuidFeature::MMX | CpuidFeature::SSE | CpuidFeature::SSE2 => true,
        CpuidFeature::MULTIBYTENOP | CpuidFeature::PAUSE | CpuidFeature::CLFSH => true,
        CpuidFeature::ADX => std::is_x86_feature_detected!("adx"),
        CpuidFeature::AES => std::is_x86_feature_detected!("aes"),
        CpuidFeature::AVX => std::is_x86_feature_detected!("avx"),
        CpuidFeature::AVX2 => std::is_x86_feature_detected!("avx2"),
        CpuidFeature::AVX512_BITALG => std::is_x86_feature_detected!("avx512bitalg"),
        CpuidFeature::AVX512_IFMA => std::is_x86_feature_detected!("avx512ifma"),
        CpuidFeature::AVX512_VBMI => std::is_x86_feature_detected!("avx512vbmi"),
        CpuidFeature::AVX512_VBMI2 => std::is_x86_feature_detected!("avx512vbmi2"),
        CpuidFeature::AVX512_VNNI => std::is_x86_feature_detected!("avx512vnni"),
        CpuidFeature::AVX512_VPOPCNTDQ => std::is_x86_feature_detected!("avx512vpopcntdq"),
        CpuidFeature::AVX512BW => std::is_x86_feature_detected!("avx512bw"),
        CpuidFeature::AVX512CD => std::is_x86_feature_detected!("avx512cd"),
        CpuidFeature::AVX512DQ => std::is_x86_feature_detected!("avx512dq"),
        CpuidFeature::AVX512F => std::is_x86_feature_detected!("avx512f"),
        CpuidFeature::AVX512VL => std::is_x86_feature_detected!("avx512vl"),
        CpuidFeature::AVX_VNNI => std::is_x86_feature_detected!("avxvnni"),
        CpuidFeature::BMI1 => std::is_x86_feature_detected!("bmi1"),
        CpuidFeature::BMI2 => std::is_x86_feature_detected!("bmi2"),
        CpuidFeature::CMPXCHG16B => std::is_x86_feature_detected!("cmpxchg16b"),
        CpuidFeature::F16C => std::is_x86_feature_detected!("f16c"),
        CpuidFeature::FMA => std::is_x86_feature_detected!("fma"),
        CpuidFeature::GFNI => std::is_x86_feature_detected!("gfni"),
        CpuidFeature::LZCNT => std::is_x86_feature_detected!("lzcnt"),
        CpuidFeature::MOVBE => std::is_x86_feature_detected!("movbe"),
        CpuidFeature::PCLMULQDQ => std::is_x86_feature_detected!("pclmulqdq"),
        CpuidFeature::POPCNT => std::is_x86_feature_detected!("popcnt"),
        CpuidFeature::SHA => std::is_x86_feature_detected!("sha"),
        CpuidFeature::SSE3 => std::is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => std::is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => std::is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => std::is_x86_feature_detected!("sse4.2"),
        CpuidFeature::VAES => std::is_x86_feature_detected!("vaes"),
        CpuidFeature::VPCLMULQDQ => std::is_x86_feature_detected!("vpclmulqdq"),
        _ => false,
    })
}

/// Returns whether an instruction can be compared by running it in the harness. Excluded are those
/// that jump, touch what the harness depends on, or are answered by the emulator in its own way.
/// Other tests run them in whole functions, or by hand.
pub fn is_comparable(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let jumps = instruction.flow_control() != iced_x86::FlowControl::Next;
    let own = matches!(
        instruction.mnemonic(),
        M::Popf
            | M::Popfq
            | M::Popfd
            | M::Enter
            | M::Leave
            | M::Cpuid
            | M::Rdtsc
            | M::Rdtscp
            | M::Rdpid
            | M::Xgetbv
    );
    let control = matches!(
        instruction.mnemonic(),
        M::Ldmxcsr
            | M::Vldmxcsr
            | M::Fldcw
            | M::Fldenv
            | M::Frstor
            | M::Fxrstor
            | M::Fxrstor64
            | M::Wrfsbase
            | M::Wrgsbase
            | M::Rdfsbase
            | M::Rdgsbase
            | M::Fxsave
            | M::Fxsave64
    );
    let xsave = matches!(
        instruction.mnemonic(),
        M::Xsave
            | M::Xsave64
            | M::Xsavec
            | M::Xsavec64
            | M::Xsaveopt
            | M::Xsaveopt64
            | M::Xrstor
            | M::Xrstor64
    );
    let shadow_stack = matches!(
        instruction.mnemonic(),
        M::Incsspd | M::Incsspq | M::Rdsspd | M::Rdsspq
    );
    !(jumps || own || control || xsave || shadow_stack)
}

/// Picks a general register for an operand; `rsp` must not change.
fn general(random: &mut Random) -> usize {
    [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15][random.below(15)]
}

fn nth(first: Register, number: usize) -> Register {
    Register::values()
        .nth(first as usize + number)
        .expect("a register")
}

/// Returns an instruction of this form with random operands, or `None` if it makes no sense.
pub fn instruction(code: Code, random: &mut Random) -> Option<Instruction> {
    let info = code.op_code();
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    instruction.set_code_size(CodeSize::Code64);
    let vectors = if code.op_code().encoding() == EncodingKind::EVEX {
        32
    } else {
        16
    };
    let mut has_memory = false;
    for operand in 0..info.op_count() {
        let kind = info.op_kind(operand);
        let register = match kind {
            K::r8_or_mem
            | K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
            | K::zmm_or_mem
            | K::k_or_mem
                if random.below(2) == 0 =>
            {
                has_memory = true;
                set_memory(&mut instruction, operand, random);
                continue;
            }
            K::mem => {
                has_memory = true;
                set_memory(&mut instruction, operand, random);
                continue;
            }
            K::r8_or_mem | K::r8_reg | K::r8_opcode => {
                // `ah` and its relatives can't be used with a REX prefix: leave that to chance.
                [
                    Register::AL,
                    Register::CL,
                    Register::BL,
                    Register::AH,
                    Register::DH,
                    Register::SIL,
                    Register::R9L,
                ][random.below(7)]
            }
            K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
                nth(Register::AX, general(random))
            }
            K::r32_or_mem
            | K::r32_reg
            | K::r32_reg_mem
            | K::r32_rm
            | K::r32_opcode
            | K::r32_vvvv => nth(Register::EAX, general(random)),
            K::r64_or_mem
            | K::r64_reg
            | K::r64_reg_mem
            | K::r64_rm
            | K::r64_opcode
            | K::r64_vvvv => nth(Register::RAX, general(random)),
            K::mm_or_mem | K::mm_reg | K::mm_rm => nth(Register::MM0, random.below(8)),
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv => {
                nth(Register::XMM0, random.below(vectors))
            }
            K::xmm_is4 => nth(Register::XMM0, random.below(16)),
            K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv => {
                nth(Register::YMM0, random.below(vectors))
            }
            K::ymm_is4 => nth(Register::YMM0, random.below(16)),
            K::zmm_or_mem | K::zmm_reg | K::zmm_rm | K::zmm_vvvv => {
                nth(Register::ZMM0, random.below(32))
            }
            K::k_or_mem | K::k_reg | K::k_rm | K::k_vvvv => nth(Register::K0, random.below(8)),
            K::al => Register::AL,
            K::cl => Register::CL,
            K::ax => Register::AX,
            K::eax => Register::EAX,
            K::rax => Register::RAX,
            K::st0 => Register::ST0,
            K::sti_opcode => nth(Register::ST0, random.below(8)),
            K::seg_rBX_al => {
                instruction.set_op_kind(operand, OpKind::Memory);
                instruction.set_memory_base(Register::RBX);
                instruction.set_memory_index(Register::AL);
                has_memory = true;
                continue;
            }
            K::mem_vsib32x
            | K::mem_vsib32y
            | K::mem_vsib32z
            | K::mem_vsib64x
            | K::mem_vsib64y
            | K::mem_vsib64z => {
                set_gather(&mut instruction, operand, kind, vectors, random);
                has_memory = true;
                continue;
            }
            K::seg_rSI => {
                instruction.set_op_kind(operand, OpKind::MemorySegRSI);
                continue;
            }
            K::es_rDI => {
                instruction.set_op_kind(operand, OpKind::MemoryESRDI);
                continue;
            }
            K::imm8
            | K::imm8_const_1
            | K::imm8sex16
            | K::imm8sex32
            | K::imm8sex64
            | K::imm16
            | K::imm32
            | K::imm32sex64
            | K::imm64
            | K::imm4_m2z => {
                set_immediate(&mut instruction, operand, kind, random);
                continue;
            }
            _ => return None,
        };
        instruction.set_op_kind(operand, OpKind::Register);
        instruction.set_op_register(operand, register);
    }
    decorate(&mut instruction, has_memory, random);
    Some(instruction)
}

fn set_memory(instruction: &mut Instruction, operand: u32, random: &mut Random) {
    instruction.set_op_kind(operand, OpKind::Memory);
    instruction.set_memory_base(nth(Register::RAX, general(random)));
    let displacement = [0, 64, 128, 1, 24, 57][random.below(6)];
    if displacement != 0 {
        instruction.set_memory_displ_size(1);
        instruction.set_memory_displacement64(displacement);
    }
    if random.below(4) == 0 {
        instruction.set_memory_index(nth(Register::RAX, general(random)));
        instruction.set_memory_index_scale([1, 2, 4, 8][random.below(4)]);
    }
}

/// Sets an address with a vector of indices.
fn set_gather(
    instruction: &mut Instruction,
    operand: u32,
    kind: K,
    vectors: usize,
    random: &mut Random,
) {
    instruction.set_op_kind(operand, OpKind::Memory);
    instruction.set_memory_base(nth(Register::RAX, general(random)));
    let first = match kind {
        K::mem_vsib32x | K::mem_vsib64x => Register::XMM0,
        K::mem_vsib32y | K::mem_vsib64y => Register::YMM0,
        _ => Register::ZMM0,
    };
    instruction.set_memory_index(nth(first, random.below(vectors)));
    instruction.set_memory_index_scale([1, 2, 4, 8][random.below(4)]);
}

fn set_immediate(instruction: &mut Instruction, operand: u32, kind: K, random: &mut Random) {
    let value = random.word();
    let (kind, value) = match kind {
        K::imm8_const_1 => (OpKind::Immediate8, 1),
        K::imm8 | K::imm4_m2z => (OpKind::Immediate8, value & 0xff),
        K::imm8sex16 => (OpKind::Immediate8to16, i64::from(value as i8) as u64),
        K::imm8sex32 => (OpKind::Immediate8to32, i64::from(value as i8) as u64),
        K::imm8sex64 => (OpKind::Immediate8to64, i64::from(value as i8) as u64),
        K::imm16 => (OpKind::Immediate16, value & 0xffff),
        K::imm32 => (OpKind::Immediate32, value & 0xffff_ffff),
        K::imm32sex64 => (OpKind::Immediate32to64, i64::from(value as i32) as u64),
        _ => (OpKind::Immediate64, value),
    };
    instruction.set_op_kind(operand, kind);
    match kind {
        OpKind::Immediate8 | OpKind::Immediate16 | OpKind::Immediate32 => {
            instruction.set_immediate_u32(operand, value as u32);
        }
        OpKind::Immediate64 => instruction.set_immediate_u64(operand, value),
        _ => instruction.set_immediate_i64(operand, value as i64),
    }
}

/// Adds prefixes, masks, broadcasts and rounding.
fn decorate(instruction: &mut Instruction, has_memory: bool, random: &mut Random) {
    let info = instruction.code().op_code();
    if info.can_use_lock_prefix() && has_memory && random.below(4) == 0 {
        instruction.set_has_lock_prefix(true);
    }
    if instruction.is_string_instruction() {
        match random.below(3) {
            0 if info.can_use_rep_prefix() => instruction.set_has_rep_prefix(true),
            1 if info.can_use_repne_prefix() => instruction.set_has_repne_prefix(true),
            _ => {}
        }
    }
    if info.can_use_op_mask_register() && (info.require_op_mask_register() || random.below(2) == 0)
    {
        instruction.set_op_mask(nth(Register::K1, random.below(7)));
        let to_register = instruction.op0_kind() == OpKind::Register;
        if info.can_use_zeroing_masking() && to_register && random.below(2) == 0 {
            instruction.set_zeroing_masking(true);
        }
    }
    if info.can_broadcast()
        && has_memory
        && info.broadcast_memory_size() != MemorySize::Unknown
        && random.below(3) == 0
    {
        instruction.set_is_broadcast(true);
    }
    if !has_memory && info.can_use_rounding_control() && random.below(4) == 0 {
        instruction.set_rounding_control(
            [
                RoundingControl::RoundToNearest,
                RoundingControl::RoundDown,
                RoundingControl::RoundUp,
                RoundingControl::RoundTowardZero,
            ][random.below(4)],
        );
    } else if !has_memory && info.can_suppress_all_exceptions() && random.below(4) == 0 {
        instruction.set_suppress_all_exceptions(true);
    }
}

/// Returns the bytes of the instruction, if it has an encoding with these operands that means the
/// same to current processors.
pub fn encode(instruction: &Instruction, at: u64) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(64);
    encoder.encode(instruction, at).ok()?;
    let bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(64, &bytes, at, DecoderOptions::NONE).decode();
    (decoded.code() == instruction.code()).then_some(bytes)
}
