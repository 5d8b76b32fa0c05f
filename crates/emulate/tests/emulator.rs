//! Runs as the caller sees them: stops, steps, layers of memory, and instructions that cannot be
//! compared with the processor one by one.

use rtops_emulate::{
    Absent, Access, Breakpoints, Emulator, Flow, Limits, Observer, Page, Registers, Source, Step,
    Stop, Trap, Wanted, Why,
};

const CODE: u64 = 0x1000;
const DATA: u64 = 0x10_0000;

/// One page of code, and data that is 0xee everywhere.
struct Bytes(Vec<u8>);

impl Source for Bytes {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        match address {
            CODE => {
                into[..self.0.len()].copy_from_slice(&self.0);
                Ok(Access::READ_EXECUTE)
            }
            DATA..0x4000_0000 => {
                into.fill(0xee);
                Ok(Access::READ_WRITE)
            }
            _ => Err(Absent::NotMapped),
        }
    }
}

fn emulator(code: &[u8]) -> Emulator<'static> {
    let mut emulator = Emulator::new(Bytes(code.to_vec()));
    emulator.registers_mut().rip = CODE;
    emulator.registers_mut().general[Registers::RSP] = DATA + 0x8000;
    emulator
}

fn at(addresses: &[u64]) -> Breakpoints {
    addresses.iter().copied().collect()
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Observer for Steps {
    fn step(&mut self, step: Step) {
        self.0.push(step);
    }
}

#[test]
fn every_instruction_is_a_step() {
    // call f; hlt; f: push rax; pop rax; jmp next; next: ret
    let mut emulator = emulator(&[0xe8, 0x01, 0, 0, 0, 0xf4, 0x50, 0x58, 0xeb, 0x00, 0xc3]);
    let mut steps = Steps::default();
    let stop = emulator.run(100, &at(&[]), &mut steps);
    assert_eq!(
        stop,
        Stop::Trap {
            at: CODE + 5,
            trap: Trap::Privileged
        }
    );
    let sp = DATA + 0x8000;
    let expected = [
        (0, sp, Flow::Call),
        (6, sp - 8, Flow::Next),
        (7, sp - 16, Flow::Next),
        (8, sp - 8, Flow::Jump),
        (10, sp - 8, Flow::Return),
        (5, sp, Flow::Next),
    ];
    assert_eq!(
        steps.0,
        expected.map(|(offset, sp, flow)| Step {
            ip: CODE + offset,
            sp,
            flow
        })
    );
}

#[test]
fn a_run_goes_on_after_a_breakpoint_and_after_the_budget() {
    // nop; nop; nop; jmp back
    let mut emulator = emulator(&[0x90, 0x90, 0x90, 0xeb, 0xfb]);
    let breakpoints = at(&[CODE + 1]);
    assert_eq!(
        emulator.run(100, &breakpoints, &mut ()),
        Stop::Breakpoint(CODE + 1)
    );
    assert_eq!(emulator.registers().rip, CODE + 1);
    assert_eq!(emulator.run(1, &breakpoints, &mut ()), Stop::Budget);
    assert_eq!(emulator.registers().rip, CODE + 2);
    // The same code with another breakpoint, in the middle of what was decoded.
    assert_eq!(
        emulator.run(100, &at(&[CODE + 3]), &mut ()),
        Stop::Breakpoint(CODE + 3)
    );
    assert_eq!(
        emulator.run(100, &breakpoints, &mut ()),
        Stop::Breakpoint(CODE + 1)
    );
    // A budget that ends at the breakpoint does not hide it.
    assert_eq!(
        emulator.run(4, &breakpoints, &mut ()),
        Stop::Breakpoint(CODE + 1)
    );
    assert_eq!(emulator.run(3, &at(&[]), &mut ()), Stop::Budget);
    assert_eq!(
        emulator.run(1, &breakpoints, &mut ()),
        Stop::Breakpoint(CODE + 1)
    );
}

#[test]
fn a_breakpoint_may_be_where_nothing_is() {
    // push 0x7000; ret
    let mut emulator = emulator(&[0x68, 0x00, 0x70, 0, 0, 0xc3]);
    assert_eq!(
        emulator.run(100, &at(&[0x7000]), &mut ()),
        Stop::Breakpoint(0x7000)
    );
}

#[test]
fn a_system_call_is_answered_by_the_caller() {
    // mov eax, 39; syscall; add rax, 1; hlt
    let mut emulator = emulator(&[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x83, 0xc0, 0x01, 0xf4]);
    emulator.registers_mut().rflags = 0x203;
    assert_eq!(emulator.run(100, &at(&[]), &mut ()), Stop::SystemCall);
    let general = emulator.registers().general;
    assert_eq!(
        (general[Registers::RAX], emulator.registers().rip),
        (39, CODE + 7)
    );
    assert_eq!(
        (general[Registers::RCX], general[Registers::R11]),
        (CODE + 7, 0x203)
    );
    emulator.registers_mut().general[Registers::RAX] = 4711;
    assert_eq!(
        emulator.run(100, &at(&[]), &mut ()),
        Stop::Trap {
            at: CODE + 11,
            trap: Trap::Privileged
        }
    );
    assert_eq!(emulator.registers().general[Registers::RAX], 4712);
}

#[test]
fn an_unknown_instruction_stops_by_name() {
    for (code, name) in [
        (&[0xd9, 0xfe][..], "fsin"),
        (&[0x0f, 0x53, 0xc1], "rcpps"),
        (&[0x8e, 0xd8], "mov"),
        (&[0x0f, 0xff, 0xff, 0xff], "ud0"),
        (&[0xc7, 0xf8, 0, 0, 0, 0], "xbegin"),
    ] {
        match emulator(code).run(100, &at(&[]), &mut ()) {
            Stop::UnknownInstruction { at, mnemonic } => {
                assert_eq!((at, mnemonic.as_str()), (CODE, name))
            }
            Stop::Trap { trap, .. } => assert_eq!((trap, name), (Trap::Undefined, "ud0")),
            stop => panic!("{name}: {stop}"),
        }
    }
}

#[test]
fn arithmetic_in_another_rounding_mode_is_not_guessed() {
    // addps xmm0, xmm1
    let mut emulator = emulator(&[0x0f, 0x58, 0xc1]);
    emulator.registers_mut().mxcsr = 0x3f80;
    let Stop::UnknownInstruction { mnemonic, .. } = emulator.run(1, &at(&[]), &mut ()) else {
        panic!("it ran")
    };
    assert_eq!(mnemonic, "addps (with this control word)");
}

#[test]
fn conditions_decide_about_jumps() {
    // cmp eax, ecx; jcc over; mov bl, 1; hlt; over: hlt
    for condition in 0..16 {
        for (a, b) in [
            (1_u64, 2_u64),
            (2, 2),
            (3, 2),
            (0x8000_0000, 1),
            (1, 0x8000_0000),
            (0, 0xffff_ffff),
        ] {
            let mut emulator =
                emulator(&[0x39, 0xc8, 0x70 | condition, 0x03, 0xb3, 0x01, 0xf4, 0xf4]);
            let registers = emulator.registers_mut();
            registers.general[Registers::RAX] = a;
            registers.general[Registers::RCX] = b;
            emulator.run(10, &at(&[]), &mut ());
            let (less, below) = ((a as i32) < b as i32, a < b);
            let difference = (a as u32).wrapping_sub(b as u32);
            let holds = match condition >> 1 {
                0 => (a as i32).checked_sub(b as i32).is_none(),
                1 => below,
                2 => a == b,
                3 => below || a == b,
                4 => (difference as i32) < 0,
                5 => (difference as u8).count_ones().is_multiple_of(2),
                6 => less,
                _ => less || a == b,
            };
            let jumps = holds != (condition & 1 != 0);
            assert_eq!(
                emulator.registers().general[Registers::RBX] == 0,
                jumps,
                "{condition:x} {a:x} {b:x}"
            );
        }
    }
}

#[test]
fn loops_count_in_rcx() {
    // add eax, 2; loop back; jrcxz over; hlt; over: enter 32, 0; leave; hlt
    let mut emulator = emulator(&[
        0x83, 0xc0, 0x02, 0xe2, 0xfb, 0xe3, 0x01, 0xf4, 0xc8, 0x20, 0x00, 0x00, 0xc9, 0xf4,
    ]);
    emulator.registers_mut().general[Registers::RCX] = 5;
    let before = emulator.registers().general;
    assert_eq!(
        emulator.run(100, &at(&[]), &mut ()),
        Stop::Trap {
            at: CODE + 13,
            trap: Trap::Privileged
        }
    );
    let after = emulator.registers().general;
    assert_eq!((after[Registers::RAX], after[Registers::RCX]), (10, 0));
    assert_eq!(
        after[Registers::RSP..=Registers::RBP],
        before[Registers::RSP..=Registers::RBP]
    );
}

#[test]
fn popf_sets_what_user_code_may_set() {
    // push imm32; popfq; pushfq; pop rax
    let run = |flags: u32| {
        let mut code = vec![0x68];
        code.extend(flags.to_le_bytes());
        code.extend([0x9d, 0x9c, 0x58]);
        let mut emulator = emulator(&code);
        let stop = emulator.run(4, &at(&[]), &mut ());
        (stop, emulator.registers().general[Registers::RAX])
    };
    // All flags but TF, which asks for a trap after every instruction.
    assert_eq!(run(0x7fff_feff), (Stop::Budget, 0x24_4ed7 | 0x200));
    assert_eq!(run(0), (Stop::Budget, 0x202));
    assert!(matches!(run(0x100).0, Stop::UnknownInstruction { .. }));
}

#[test]
fn xsavec_and_xrstor_keep_all_vectors() {
    // xsavec64 [rdi]; vzeroall; kxorq k1, k1, k1; fninit; xrstor64 [rdi]
    let code = [
        0x48, 0x0f, 0xc7, 0x27, 0xc5, 0xfc, 0x77, 0xc4, 0xe1, 0xf4, 0x47, 0xc9, 0xdb, 0xe3, 0x48,
        0x0f, 0xae, 0x2f,
    ];
    let mut emulator = emulator(&code);
    let registers = emulator.registers_mut();
    registers.general[Registers::RDI] = DATA;
    registers.general[Registers::RAX] = 0xff;
    for (n, vector) in registers.vectors.iter_mut().enumerate() {
        *vector =
            std::array::from_fn(|lane| (n * 4 + lane + 1) as u128 * 0x0123_4567_89ab_cdef_1111);
    }
    registers.masks = [1, 2, 3, 4, 5, 6, 7, 8];
    registers.mxcsr = 0x5f80;
    registers.x87.registers[6].significand = 0xc000_0000_0000_0000;
    registers.x87.top = 6;
    registers.x87.used = 0x40;
    let before = emulator.registers().clone();
    emulator.memory().write(DATA, &[0; 4096]).expect("data");
    assert_eq!(emulator.run(4, &at(&[]), &mut ()), Stop::Budget);
    assert_eq!(
        (
            emulator.registers().vectors[3],
            emulator.registers().masks[1]
        ),
        ([0; 4], 0)
    );
    assert_eq!(emulator.run(1, &at(&[]), &mut ()), Stop::Budget);
    let after = emulator.registers();
    assert_eq!(
        (after.vectors, after.masks, after.mxcsr),
        (before.vectors, before.masks, before.mxcsr)
    );
    assert_eq!(after.x87, before.x87);
    // The header lists the components, and says that there are no gaps.
    let header = emulator.memory().read::<16>(DATA + 512).expect("data");
    assert_eq!(
        header,
        (0xe7_u128 | 0x8000_0000_0000_00e7_u128 << 64).to_le_bytes()
    );
}

#[test]
fn what_was_written_is_kept_or_dropped() {
    let mut emulator = emulator(&[]);
    let memory = emulator.memory();
    let byte = |memory: &mut rtops_emulate::Memory<'_>, address| {
        memory.read::<1>(address).map(|[byte]| byte)
    };
    memory.write(DATA, &[1]).expect("data");
    memory.commit();
    memory.write(DATA, &[2]).expect("data");
    memory.write(DATA + 0x1000, &[2]).expect("data");
    assert_eq!((memory.written_pages(), byte(memory, DATA)), (2, Ok(2)));
    memory.revert();
    assert_eq!((memory.written_pages(), byte(memory, DATA)), (0, Ok(1)));
    assert_eq!(byte(memory, DATA + 0x1000), Ok(0xee));
    // All or nothing, across pages.
    let end = 0x4000_0000 - 2;
    let fault = memory
        .write(end, &[1, 2, 3])
        .expect_err("the last byte is not mapped");
    assert_eq!(
        (fault.address, fault.wanted, fault.why),
        (0x4000_0000, Wanted::Write, Why::NotMapped)
    );
    assert_eq!(byte(memory, end), Ok(0xee));
}

#[test]
fn mapped_memory_is_dropped_with_what_is_in_it() {
    let mut emulator = emulator(&[]);
    let memory = emulator.memory();
    memory.map(0x7000..0x9000, Access::READ_WRITE);
    memory.write(0x7ffe, &[1, 2, 3, 4]).expect("mapped");
    memory.commit();
    // Maps over the source, and over committed memory.
    memory.write(DATA, &[7]).expect("data");
    memory.map(DATA..DATA + 1, Access::READ);
    memory.map(0x8000..0x8001, Access::READ_WRITE);
    assert_eq!(memory.read::<4>(0x7ffe), Ok([1, 2, 0, 0]));
    assert_eq!(memory.read::<1>(DATA + 4095), Ok([0]));
    assert_eq!(
        memory.write(DATA, &[1]).map_err(|fault| fault.why),
        Err(Why::NotAllowed)
    );
    memory.revert();
    assert_eq!(memory.read::<4>(0x7ffe), Ok([1, 2, 3, 4]));
    assert_eq!(memory.read::<1>(DATA), Ok([0xee]));
    assert_eq!(
        memory.read::<1>(0x9000).map_err(|fault| fault.why),
        Err(Why::NotMapped)
    );
}

#[test]
fn a_large_source_is_not_copied() {
    let limits = Limits {
        cached_pages: 64,
        ..Limits::default()
    };
    let mut emulator = Emulator::with_limits(Bytes(Vec::new()), limits);
    let memory = emulator.memory();
    for page in 0..20_000 {
        assert_eq!(
            memory.read::<2>(DATA + page * 4096 + 4095),
            Ok([0xee, 0xee])
        );
    }
    assert!(
        format!("{memory:?}").contains("unchanged: 64"),
        "{memory:?}"
    );
}

#[test]
fn many_share_one_source() {
    let source = Bytes(vec![0xff, 0xc0, 0xeb, 0xfc]);
    let count = |budget| {
        let mut emulator = Emulator::new(&source);
        emulator.registers_mut().rip = CODE;
        emulator.run(budget, &at(&[]), &mut ());
        emulator.registers().general[Registers::RAX]
    };
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = [10, 20, 30]
            .map(|budget| scope.spawn(move || count(budget)))
            .into();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it counts"))
            .collect()
    });
    assert_eq!(counts, [5, 10, 15]);
}
