//! Descriptions of differences.

use std::fmt;

use iced_x86::{FastFormatter, InstructionInfoFactory, Register};
use rtops_emulate::Registers;
use rtops_image::Image;

use crate::{code::Decoded, record::used_x87};

const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// A difference between the interpreter and the processor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference(String);

impl Difference {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Describes instructions and addresses of an image.
pub(crate) struct Describe<'i, I> {
    pub(crate) image: &'i I,
}

impl<I: Image> Describe<'_, I> {
    /// Describes an instruction, its inputs and its results: the registers before and after it, on
    /// the processor and in the interpreter, with only the defined bits of `rflags`.
    pub(crate) fn instruction(
        &self,
        decoded: Option<&Decoded>,
        flags: u64,
        [processor, interpreter]: [&[Registers]; 2],
    ) -> String {
        let (Some(decoded), Some(before)) = (decoded, processor.first()) else {
            return "  before the first instruction".to_owned();
        };
        let mut name = String::new();
        FastFormatter::new().format(&decoded.instruction, &mut name);
        let place = self.place(decoded.instruction.ip());
        let inputs = inputs(decoded, before).into_iter();
        let inputs: String = inputs
            .map(|(register, value)| format!(", {register} {value}"))
            .collect();
        let first = format!(
            "  {place}: {:02x?} {name}\n  with rflags {:#x}{inputs}",
            decoded.bytes, before.rflags
        );
        let results = match [processor.get(1), interpreter.get(1)] {
            [Some(a), Some(b)] => results(a, b, flags),
            [None, Some(_)] => vec!["  the processor stops here".to_owned()],
            [_, None] => vec!["  the interpreter stops here".to_owned()],
        };
        [vec![first], results].concat().join("\n")
    }

    /// Describes an address, as an offset in its module.
    fn place(&self, address: u64) -> String {
        let Some(module) = self.image.module_of(address) else {
            return format!("{address:#x}");
        };
        let name = module.path.file_name().unwrap_or_default();
        let offset = address.wrapping_sub(module.load_bias);
        format!("{address:#x} ({}+{offset:#x})", name.to_string_lossy())
    }
}

/// Describes the registers that differ.
fn results(processor: &Registers, interpreter: &Registers, flags: u64) -> Vec<String> {
    let values = |registers| values(registers, flags).into_iter();
    let pairs = values(processor).zip(values(interpreter));
    pairs
        .filter(|(a, b)| a != b)
        .map(|((register, a), (_, b))| format!("  {register}: processor {a}, interpreter {b}"))
        .collect()
}

/// Returns the registers that an instruction names.
fn inputs(decoded: &Decoded, before: &Registers) -> Vec<(String, String)> {
    let mut info = InstructionInfoFactory::new();
    let info = info.info(&decoded.instruction);
    let mut names: Vec<String> = info
        .used_registers()
        .iter()
        .filter_map(|used| {
            let register = used.register();
            let number = register.number();
            Some(match register.full_register() {
                full if full.is_gpr64() => (*GENERAL.get(number)?).to_owned(),
                full if full.is_vector_register() => format!("zmm{number}"),
                full if full.is_k() => format!("k{number}"),
                Register::FS => "fs".to_owned(),
                _ => return None,
            })
        })
        .collect();
    names.sort();
    names.dedup();
    let values = values(before, u64::MAX).into_iter();
    values.filter(|(name, _)| names.contains(name)).collect()
}

/// Returns all registers with their names.
fn values(registers: &Registers, flags: u64) -> Vec<(String, String)> {
    let hex = |value: &u64| format!("{value:#x}");
    let general = GENERAL.iter().zip(&registers.general);
    let mut all: Vec<(String, String)> = general
        .map(|(name, value)| ((*name).to_owned(), hex(value)))
        .collect();
    let others = [
        ("rip", registers.rip),
        ("rflags", registers.rflags & flags),
        ("fs", registers.fs_base),
        ("gs", registers.gs_base),
        ("mxcsr", u64::from(registers.mxcsr & 0xffc0)),
        ("x87 control", u64::from(registers.x87.control)),
        ("x87 top", u64::from(registers.x87.top)),
        ("x87 tags", u64::from(registers.x87.used)),
    ];
    all.extend(others.map(|(name, value)| (name.to_owned(), hex(&value))));
    let vectors = registers.vectors.iter().enumerate();
    all.extend(vectors.map(|(number, [a, b, c, d])| {
        (
            format!("zmm{number}"),
            format!("{d:032x}_{c:032x}_{b:032x}_{a:032x}"),
        )
    }));
    let masks = registers.masks.iter().enumerate();
    all.extend(masks.map(|(number, mask)| (format!("k{number}"), hex(mask))));
    for number in 0..8 {
        let used = used_x87(registers).find(|(used, _)| *used == number);
        let value = used.map_or_else(String::new, |(_, x)| {
            format!("{:#x}:{:#x}", x.exponent, x.significand)
        });
        all.push((format!("x87 r{number}"), value));
    }
    all
}
