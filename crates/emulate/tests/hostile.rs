//! Random code and registers: nothing may panic, hang or grow without bound.

use proptest::prelude::*;
use rtops_emulate::{
    Absent, Access, Breakpoints, Emulator, Limits, PAGE_SIZE, Page, Source, Stop, Trap, Wanted, Why,
};

const CODE: u64 = 0x1000;
const DATA: u64 = 0x10_0000;
const BUDGET: u64 = 20_000;

/// Two writable pages of code, and a lot of data.
struct Bytes(Vec<u8>);

impl Source for Bytes {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        let offset = address.wrapping_sub(CODE) as usize;
        match address {
            CODE..0x3000 => {
                let rest = self.0.get(offset..).unwrap_or_default();
                let count = rest.len().min(PAGE_SIZE);
                into[..count].copy_from_slice(&rest[..count]);
                Ok(Access {
                    read: true,
                    write: true,
                    execute: true,
                })
            }
            DATA..0x4000_0000 => Ok(Access::READ_WRITE),
            0x5000_0000..0x5001_0000 => Err(Absent::NotPresent),
            _ => Err(Absent::NotMapped),
        }
    }
}

fn run(code: &[u8]) -> (Stop, Emulator<'static>) {
    let limits = Limits {
        cached_pages: 64,
        written_pages: 128,
        decoded_instructions: 1000,
    };
    let mut emulator = Emulator::with_limits(Bytes(code.to_vec()), limits);
    emulator.registers_mut().rip = CODE;
    emulator.registers_mut().general[4] = DATA + 0x8000;
    let stop = emulator.run(BUDGET, &Breakpoints::default(), &mut ());
    (stop, emulator)
}

fn pointer() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        Just((1 << 47) - 4),
        Just(0x3000 - 3),
        CODE..0x3000_u64,
        DATA..0x20_0000_u64,
        0x5000_0000..0x5000_2000_u64,
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Whatever the bytes are, the run ends, and reverting restores the memory.
    #[test]
    fn any_bytes(
        code in proptest::collection::vec(any::<u8>(), 1..300),
        general in proptest::array::uniform16(pointer()),
        rflags in any::<u64>(),
        mxcsr in any::<u32>(),
        at_end in any::<bool>(),
    ) {
        let mut bytes = vec![0x90; 0x2000];
        let start = if at_end { bytes.len() - code.len() } else { 4000 };
        bytes[start..start + code.len()].copy_from_slice(&code);
        let limits = Limits { cached_pages: 64, written_pages: 128, decoded_instructions: 1000 };
        let mut emulator = Emulator::with_limits(Bytes(bytes.clone()), limits);
        let registers = emulator.registers_mut();
        registers.general = general;
        registers.rip = CODE + start as u64;
        registers.rflags = rflags;
        registers.mxcsr = mxcsr;
        for _ in 0..3 {
            emulator.run(BUDGET, &Breakpoints::default(), &mut ());
        }
        prop_assert!(emulator.memory().written_pages() <= 128);
        emulator.memory().revert();
        let mut after = vec![0; bytes.len()];
        emulator.memory().read_slice(CODE, &mut after).expect("the code");
        prop_assert!(after == bytes);
    }
}

#[test]
fn an_endless_loop_ends_with_the_budget() {
    assert_eq!(run(&[0xeb, 0xfe]).0, Stop::Budget);
}

#[test]
fn a_huge_count_ends_with_the_budget() {
    // mov rcx, -1; mov edi, DATA; rep stosb
    let code = [
        0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff, 0xbf, 0x00, 0x00, 0x10, 0x00, 0xf3, 0xaa,
    ];
    let (stop, emulator) = run(&code);
    assert_eq!(stop, Stop::Budget);
    // It did not begin.
    let registers = emulator.registers();
    assert_eq!(registers.general[7], DATA);
    assert_eq!(registers.general[1], u64::MAX);
}

#[test]
fn a_count_that_writes_all_memory_is_stopped() {
    // mov rcx, -1; mov edi, DATA; rep stosb, again and again
    let code = [
        0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff, 0xbf, 0x00, 0x00, 0x10, 0x00, 0xf3, 0xaa,
    ];
    let (_, mut emulator) = run(&code);
    let Stop::Fault { fault, .. } = emulator.run(1 << 60, &Breakpoints::default(), &mut ()) else {
        panic!("it ended otherwise");
    };
    assert_eq!(
        (fault.wanted, fault.why),
        (Wanted::Write, Why::TooManyWritten)
    );
}

#[test]
fn code_that_changes_itself_runs_as_changed() {
    // mov byte [rip + 1], 5; mov eax, 1 (made 5); mov byte [rip - 6], 7; cmp eax, 7; jne back; hlt
    let code = [
        0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x05, // the immediate of the next instruction
        0xb8, 0x01, 0x00, 0x00, 0x00, //
        0xc6, 0x05, 0xf5, 0xff, 0xff, 0xff, 0x07, // the same
        0x83, 0xf8, 0x07, 0x75, 0xef, 0xf4,
    ];
    let (stop, emulator) = run(&code);
    assert_eq!(
        stop,
        Stop::Trap {
            at: CODE + 24,
            trap: Trap::Privileged
        }
    );
    assert_eq!(emulator.registers().general[0], 7);
}

#[test]
fn an_instruction_that_goes_on_in_an_absent_page_faults_there() {
    let mut code = vec![0x90; 0x2000];
    let last = code.len() - 3;
    // mov rax, imm64; only three bytes of it are there
    code[last..].copy_from_slice(&[0x48, 0xb8, 0x11]);
    let mut emulator = Emulator::new(Bytes(code));
    emulator.registers_mut().rip = CODE + last as u64;
    let Stop::Fault { fault, at } = emulator.run(BUDGET, &Breakpoints::default(), &mut ()) else {
        panic!("it ended otherwise");
    };
    assert_eq!(
        (fault.address, fault.wanted, at),
        (0x3000, Wanted::Execute, CODE + last as u64)
    );
}

#[test]
fn each_kind_of_fault_has_its_name() {
    for (address, why) in [
        (0_u64, Why::NotMapped),
        (0x5000_0000, Why::NotPresent),
        (1 << 47, Why::NonCanonical),
        (u64::MAX - 2, Why::NotMapped),
    ] {
        // mov rax, imm64; mov rbx, [rax]
        let mut code = vec![0x48, 0xb8];
        code.extend(address.to_le_bytes());
        code.extend([0x48, 0x8b, 0x18]);
        let (stop, _) = run(&code);
        let Stop::Fault { fault, at } = stop else {
            panic!("{stop}")
        };
        assert_eq!((fault.address, fault.why, at), (address, why, CODE + 10));
    }
}

#[test]
fn data_cannot_be_executed() {
    // mov eax, DATA; jmp rax
    let (stop, _) = run(&[0xb8, 0x00, 0x00, 0x10, 0x00, 0xff, 0xe0]);
    let Stop::Fault { fault, .. } = stop else {
        panic!("{stop}")
    };
    assert_eq!(
        (fault.address, fault.wanted, fault.why),
        (DATA, Wanted::Execute, Why::NotAllowed)
    );
}

#[test]
fn a_division_that_does_not_fit_traps() {
    // xor ecx, ecx; div rcx
    let (stop, _) = run(&[0x31, 0xc9, 0x48, 0xf7, 0xf1]);
    assert_eq!(
        stop,
        Stop::Trap {
            at: CODE + 2,
            trap: Trap::Divide
        }
    );
}
