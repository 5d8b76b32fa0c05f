//! Compares every form of every instruction with the processor that runs this test.
//!
//! `forms.rs` makes instructions of each form with random operands. The interpreter runs them, and
//! the processor then runs those that it finishes. Registers, flags and memory must be equal. The
//! snapshot next to this file lists the mnemonics that are covered.

mod compare;
mod forms;
mod native;
mod random;

use std::collections::BTreeMap;

use compare::{Side, difference, from_registers, iced_flags, to_registers};
use iced_x86::{Code, Instruction};
use native::{Native, SCRATCH, SCRATCH_SIZE, State};
use random::Random;
use rtops_emulate::{Absent, Access, Breakpoints, Emulator, PAGE_SIZE, Page, Source, Stop};

/// The code page and the scratch pages, all empty; each case fills them.
struct Empty {
    code: u64,
}

impl Source for Empty {
    fn page(&self, address: u64, _: &mut Page) -> Result<Access, Absent> {
        match address {
            _ if address == self.code => Ok(Access {
                read: true,
                write: true,
                execute: true,
            }),
            SCRATCH..0x2000_2000 => Ok(Access::READ_WRITE),
            _ => Err(Absent::NotMapped),
        }
    }
}

/// The number of comparisons that each form must pass.
const CASES: usize = 150;

struct Bench {
    native: Native,
    emulator: Emulator<'static>,
    random: Random,
}

/// The outcome of one case.
enum Outcome {
    Equal,
    /// The interpreter does not know the instruction.
    Unknown,
    /// The instruction can't be run: it faults or traps.
    Skipped,
    /// The instruction ran, but this processor or the harness cannot run it.
    NotComparable,
    Differs(String),
}

impl Bench {
    fn new(seed: u64) -> Self {
        let native = Native::new();
        let code = native.slot() & !(PAGE_SIZE as u64 - 1);
        Self {
            native,
            emulator: Emulator::new(Empty { code }),
            random: Random::new(seed),
        }
    }

    fn state(&mut self, instruction: &Instruction) -> State {
        let random = &mut self.random;
        let mut state = State::new();
        state.general = std::array::from_fn(|_| random.word());
        state.flags = 0x202 | random.word() & 0x8d5;
        let (lanes, count) = state.vector_shape();
        for vector in &mut state.vectors[..count] {
            vector[..lanes].fill_with(|| random.lane());
        }
        if count == 32 {
            state.masks = std::array::from_fn(|_| random.word());
        }
        state.general[4] = SCRATCH + 4096;
        let place = |random: &mut Random| SCRATCH + 2048 + [0, 64, 16, 8, 1][random.below(5)];
        if instruction.is_string_instruction() {
            state.general[6] = place(random);
            state.general[7] = place(random);
            state.general[1] = random.below(40) as u64;
            state.flags |= (random.below(2) as u64) << 10;
        }
        let index = instruction.memory_index();
        if index != iced_x86::Register::None && index.is_gpr() {
            state.general[index.number()] = random.below(60) as u64;
        }
        if instruction.is_vsib() {
            // Near indices of 32 or 64 bits.
            let mask = if instruction.is_vsib32() {
                0x3f_0000_003f_0000_003f_0000_003f
            } else {
                0x3f_0000_0000_0000_003f
            };
            for lane in &mut state.vectors[index.number()] {
                *lane &= mask;
            }
        }
        let base = instruction.memory_base();
        if base != iced_x86::Register::None && base.is_gpr() {
            state.general[base.number()] = place(random);
        }
        self.fill_x87(&mut state);
        // Use another rounding mode in some cases.
        if self.random.below(4) == 0 {
            let mode = self.random.below(4) as u16;
            state.fxsave[..2].copy_from_slice(&(0x37f | mode << 10).to_le_bytes());
            state.fxsave[24..26].copy_from_slice(&(0x1f80 | mode << 13).to_le_bytes());
        }
        state
    }

    fn fill_x87(&mut self, state: &mut State) {
        let random = &mut self.random;
        // Full in half of the cases, two numbers in the others.
        let (top, used) = if random.below(2) == 0 {
            (0_u16, 0xff_u8)
        } else {
            (6, 0xc0)
        };
        state.fxsave[2..4].copy_from_slice(&(top << 11).to_le_bytes());
        state.fxsave[4] = used;
        for n in 0..8 {
            let (significand, exponent) = random.extended();
            state.fxsave[32 + 16 * n..40 + 16 * n].copy_from_slice(&significand.to_le_bytes());
            state.fxsave[40 + 16 * n..42 + 16 * n].copy_from_slice(&exponent.to_le_bytes());
        }
    }

    fn case(&mut self, code: Code) -> Outcome {
        let Some(instruction) = forms::instruction(code, &mut self.random) else {
            return Outcome::Skipped;
        };
        let slot = self.native.slot();
        let Some(bytes) = forms::encode(&instruction, slot) else {
            return Outcome::Skipped;
        };
        let before = self.state(&instruction);
        let mut memory = [0; SCRATCH_SIZE];
        self.random.fill(&mut memory);
        let mut after = before;
        let mut memory_after = memory;
        match self.emulate(&bytes, &mut after, &mut memory_after) {
            Stop::Breakpoint(_) => {}
            Stop::UnknownInstruction { .. } => return Outcome::Unknown,
            _ => return Outcome::Skipped,
        }
        if !forms::is_available(code) || !forms::is_comparable(&instruction) {
            return Outcome::NotComparable;
        }
        let mut expected = before;
        let mut expected_memory = memory;
        self.native.run(&bytes, &mut expected, &mut expected_memory);
        let undefined = u64::from(iced_flags(instruction.rflags_undefined()));
        match difference(
            &before,
            &Side {
                state: &after,
                memory: &memory_after,
            },
            &Side {
                state: &expected,
                memory: &expected_memory,
            },
            undefined,
        ) {
            None => Outcome::Equal,
            Some(what) => Outcome::Differs(format!(
                "{} ({bytes:02x?}): {what}",
                code.op_code().instruction_string()
            )),
        }
    }

    /// Runs the instruction in the interpreter, with the same arguments as [`Native::run`].
    fn emulate(
        &mut self,
        bytes: &[u8],
        state: &mut State,
        memory: &mut [u8; SCRATCH_SIZE],
    ) -> Stop {
        let slot = self.native.slot();
        let emulator = &mut self.emulator;
        emulator.memory().write(slot, bytes).expect("the slot");
        emulator
            .memory()
            .write(SCRATCH, memory)
            .expect("the scratch memory");
        *emulator.registers_mut() = to_registers(state, slot);
        let end: Breakpoints = [slot + bytes.len() as u64].into_iter().collect();
        let stop = emulator.run(1000, &end, &mut ());
        emulator
            .memory()
            .read_slice(SCRATCH, memory)
            .expect("the scratch memory");
        from_registers(emulator.registers(), state);
        emulator.memory().revert();
        stop
    }
}

/// How many forms of a mnemonic there are.
#[derive(Default)]
struct Coverage {
    forms: usize,
    /// The forms that the interpreter runs.
    known: usize,
}

#[test]
fn every_known_form_does_what_the_processor_does() {
    let mut bench = Bench::new(1);
    let mut failures = Vec::new();
    let mut not_compared = Vec::new();
    let mut coverage: BTreeMap<String, Coverage> = BTreeMap::new();
    for code in forms::all() {
        let (mut equal, mut unknown) = (0, 0);
        let mut known = false;
        for _ in 0..CASES * 4 {
            match bench.case(code) {
                Outcome::Equal => equal += 1,
                Outcome::Unknown => unknown += 1,
                Outcome::Skipped => {}
                Outcome::NotComparable => known = true,
                Outcome::Differs(what) => {
                    failures.push(what);
                    break;
                }
            }
            if equal == CASES || unknown == CASES {
                break;
            }
        }
        known |= equal > 0;
        if known && equal == 0 {
            not_compared.push(format!("{code:?}"));
        }
        let entry = coverage
            .entry(format!("{:?}", code.mnemonic()).to_lowercase())
            .or_default();
        entry.forms += 1;
        entry.known += usize::from(known);
    }
    report(&not_compared);
    assert!(
        failures.is_empty(),
        "{} forms differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    insta::assert_snapshot!("coverage", describe(&coverage));
}

#[expect(clippy::print_stderr, reason = "says what this run did not test")]
fn report(not_compared: &[String]) {
    eprintln!(
        "{} forms are known, but were not compared here: {}",
        not_compared.len(),
        not_compared.join(" ")
    );
}

/// Returns a line for each known mnemonic, then the others.
fn describe(coverage: &BTreeMap<String, Coverage>) -> String {
    let known = coverage.iter().filter(|(_, coverage)| coverage.known > 0);
    let lines: Vec<String> = known
        .map(|(name, Coverage { forms, known })| match forms - known {
            0 => name.clone(),
            _ => format!("{name}: {known} of {forms} forms"),
        })
        .collect();
    let unknown: Vec<&str> = coverage
        .iter()
        .filter(|(_, coverage)| coverage.known == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "{}\n\nNot known, or not run on their own: {}\n",
        lines.join("\n"),
        unknown.join(" ")
    )
}
