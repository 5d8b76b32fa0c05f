//! The instructions that ran, decoded once each.

use std::{collections::HashMap, rc::Rc};

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};
use rtops_emulate::{BYTES_AS_CHEAP, Flow, PAGE_SIZE, Registers};

/// The longest instruction.
const LONGEST: usize = 15;

/// An instruction, and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) instruction: Instruction,
    pub(crate) bytes: Vec<u8>,
    /// The memory that it writes.
    writes: Vec<UsedMemory>,
    /// Whether it may change other registers than the general ones.
    pub(crate) has_vectors: bool,
}

/// Instructions by their addresses. Code does not change.
pub(crate) struct Code {
    known: HashMap<u64, Rc<Decoded>>,
    info: InstructionInfoFactory,
}

impl Code {
    pub(crate) fn new() -> Self {
        Self {
            known: HashMap::new(),
            info: InstructionInfoFactory::new(),
        }
    }

    /// The instruction at an address; `read` fills in bytes and says how many there are.
    pub(crate) fn at<E>(
        &mut self,
        address: u64,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Rc<Decoded>, E> {
        if let Some(known) = self.known.get(&address) {
            return Ok(Rc::clone(known));
        }
        let mut bytes = [0; LONGEST];
        let length = read(&mut bytes)?;
        let mut decoder = Decoder::with_ip(64, &bytes[..length], address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let used = self.info.info(&instruction).used_memory();
        let writes = used.iter().filter(|used| {
            matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            )
        });
        let decoded = Decoded {
            instruction,
            bytes: bytes[..instruction.len()].to_vec(),
            writes: writes.copied().collect(),
            has_vectors: !instruction.cpuid_features().iter().all(is_plain),
        };
        let decoded = Rc::new(decoded);
        self.known.insert(address, Rc::clone(&decoded));
        Ok(decoded)
    }

    /// One that was asked for before.
    pub(crate) fn known(&self, address: u64) -> Option<&Decoded> {
        self.known.get(&address).map(Rc::as_ref)
    }
}

impl Decoded {
    /// Whether it changes no flags with these registers: a shift, or a comparison, of nothing.
    pub(crate) fn spares_flags(&self, general: &[u64; 16]) -> bool {
        use Mnemonic as M;
        let count = general[Registers::RCX];
        let instruction = &self.instruction;
        let is_shift = matches!(
            instruction.mnemonic(),
            M::Shl
                | M::Sal
                | M::Shr
                | M::Sar
                | M::Shld
                | M::Shrd
                | M::Rol
                | M::Ror
                | M::Rcl
                | M::Rcr
        );
        let last = instruction.op_count().saturating_sub(1);
        if is_shift && instruction.op_kind(last) == OpKind::Register {
            let is_wide = match instruction.op0_kind() {
                OpKind::Register => instruction.op0_register().is_gpr64(),
                _ => instruction.memory_size().size() == 8,
            };
            return count & if is_wide { 63 } else { 31 } == 0;
        }
        self.repeats().is_some() && count == 0
    }

    /// Whether it stores MXCSR.
    pub(crate) fn stores_mxcsr(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.instruction.mnemonic(),
            M::Stmxcsr
                | M::Vstmxcsr
                | M::Fxsave
                | M::Fxsave64
                | M::Xsave
                | M::Xsave64
                | M::Xsavec
                | M::Xsavec64
        )
    }

    /// Where it stores the state of SSE with all that belongs to it.
    pub(crate) fn saves_to(&self, registers: &Registers) -> Option<u64> {
        let is_store = matches!(
            self.instruction.mnemonic(),
            Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr
        );
        let area = self
            .writes
            .first()
            .filter(|_| self.stores_mxcsr() && !is_store)?;
        area.virtual_address(0, |register, _, _| Some(value(register, registers)))
    }

    /// Whether it loads MXCSR.
    pub(crate) fn loads_mxcsr(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.instruction.mnemonic(),
            M::Ldmxcsr | M::Vldmxcsr | M::Fxrstor | M::Fxrstor64 | M::Xrstor | M::Xrstor64
        )
    }

    /// Whether it may end before all elements were handled.
    pub(crate) fn compares(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.instruction.mnemonic(),
            M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq
        )
    }

    /// The size of an element, if it is a string instruction that is repeated.
    pub(crate) fn repeats(&self) -> Option<u64> {
        let instruction = &self.instruction;
        let is_string = (0..instruction.op_count()).any(|operand| {
            matches!(
                instruction.op_kind(operand),
                OpKind::MemorySegRSI | OpKind::MemoryESRDI
            )
        });
        let is_repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        (is_string && is_repeated).then(|| instruction.memory_size().size() as u64)
    }

    /// How many instructions as many elements of it count as, beside itself.
    pub(crate) fn price(&self, elements: u64) -> u64 {
        let bytes = elements.saturating_mul(self.repeats().unwrap_or(0));
        match self.compares() {
            true => bytes,
            false => bytes / BYTES_AS_CHEAP,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        match self.instruction.flow_control() {
            FlowControl::Call | FlowControl::IndirectCall
                if self.instruction.mnemonic() != Mnemonic::Syscall =>
            {
                Flow::Call
            }
            FlowControl::Return => Flow::Return,
            FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::ConditionalBranch => Flow::Jump,
            _ => Flow::Next,
        }
    }

    /// The pages that it writes to, with these registers before it; maybe some more.
    pub(crate) fn pages(&self, registers: &Registers) -> Vec<u64> {
        let count = registers.general[Registers::RCX];
        let mut pages = Vec::new();
        for used in &self.writes {
            let value = |register, _, _| Some(value(register, registers));
            let Some(start) = used.virtual_address(0, value) else {
                continue;
            };
            // The sizes of a few are not known: states of the processor.
            let size = match used.memory_size().size() as u64 {
                0 => PAGE_SIZE as u64,
                size => size,
            };
            let size = match self.repeats() {
                Some(size) => size.saturating_mul(count).max(1),
                None => size,
            };
            let is_backwards = registers.rflags & 1 << 10 != 0 && self.repeats().is_some();
            let start = if is_backwards {
                start.wrapping_sub(size)
            } else {
                start
            };
            let page = PAGE_SIZE as u64;
            let (first, last) = (start / page, start.saturating_add(size) / page);
            // What is larger than all memory faults.
            pages.extend((first..=last.min(first + (1 << 18))).map(|number| number * page));
        }
        pages
    }
}

/// Whether what comes with a feature works on general registers only.
fn is_plain(feature: &CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::X64
            | F::CMOV
            | F::MULTIBYTENOP
            | F::PAUSE
            | F::CET_IBT
            | F::POPCNT
            | F::LZCNT
            | F::BMI1
            | F::BMI2
            | F::ADX
            | F::CX8
            | F::CMPXCHG16B
            | F::MOVBE
    )
}

/// The value of a register as a part of an address.
fn value(register: Register, registers: &Registers) -> u64 {
    let full = register.full_register();
    match full {
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        _ if full.is_gpr64() => {
            let value = registers.general[full.number()];
            if register.is_gpr32() {
                value & 0xffff_ffff
            } else {
                value
            }
        }
        _ => 0,
    }
}
