//! The instructions that ran, each decoded once.

use std::{collections::HashMap, rc::Rc};

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};
use rtops_emulate::{BYTES_AS_CHEAP, Flow, PAGE_SIZE, Registers};

/// The length of the longest instruction, in bytes.
const LONGEST: usize = 15;

/// An instruction, and the facts about it that are needed.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) instruction: Instruction,
    pub(crate) bytes: Vec<u8>,
    /// The memory that it writes.
    writes: Vec<UsedMemory>,
    /// Whether it may change registers other than the general ones.
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

    /// Returns the instruction at an address; `read` fills in bytes and returns their number.
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

    /// Returns an instruction that was asked for before.
    pub(crate) fn known(&self, address: u64) -> Option<&Decoded> {
        self.known.get(&address).map(Rc::as_ref)
    }
}

impl Decoded {
    /// Returns whether it changes no flags with these registers, such as a shift by zero, or a
    /// comparison of no elements.
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

    /// Returns whether it stores MXCSR.
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

    /// Returns the address at which it stores the whole state of SSE.
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

    /// Returns whether it loads MXCSR.
    pub(crate) fn loads_mxcsr(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.instruction.mnemonic(),
            M::Ldmxcsr | M::Vldmxcsr | M::Fxrstor | M::Fxrstor64 | M::Xrstor | M::Xrstor64
        )
    }

    /// Returns whether it may end before all elements were handled.
    pub(crate) fn compares(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.instruction.mnemonic(),
            M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq
        )
    }

    /// Returns the size of an element, if it is a repeated string instruction.
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

    /// Returns how many instructions this many elements count as, in addition
    /// to the instruction itself.
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

    /// Returns the pages that it writes to if these are the registers before
    /// it, and maybe some more.
    pub(crate) fn pages(&self, registers: &Registers) -> Vec<u64> {
        let count = registers.general[Registers::RCX];
        let mut pages = Vec::new();
        for used in &self.writes {
            let value = |register, _, _| Some(value(register, registers));
            let Some(start) = used.virtual_address(0, value) else {
                continue;
            };
            // A few operands have no known size: saved states of the processor.
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
            // Anything larger than all memory faults.
            pages.extend((first..=last.min(first + (1 << 18))).map(|number| number * page));
        }
        pages
    }
}

/// Returns whether the instructions of a feature use only general registers.
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

/// Returns the value of a register as a part of an address.
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
