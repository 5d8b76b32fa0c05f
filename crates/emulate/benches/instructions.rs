//! Measures the cost of an instruction: loops of integer and SSE code, with an observer that hashes
//! the addresses. Divan prints the rate; its inverse is the time per instruction.

use std::hint::black_box;

use divan::{Bencher, counter::ItemsCount};
use rtops_emulate::{
    Absent, Access, Breakpoints, Emulator, Observer, Page, Registers, Source, Step, Stop,
};

fn main() {
    divan::main();
}

const CODE: u64 = 0x1000;
const STACK: u64 = 0x8000;
/// The number of instructions in a run.
const BUDGET: u64 = 100_000;

struct Code(&'static [u8]);

impl Source for Code {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        if address != CODE {
            return Err(Absent::NotMapped);
        }
        into[..self.0.len()].copy_from_slice(self.0);
        Ok(Access::READ_EXECUTE)
    }
}

/// Hashes the steps, as an observer that looks for equal runs does.
#[derive(Default)]
struct Hash(u64);

impl Observer for Hash {
    #[inline]
    fn step(&mut self, step: Step) {
        self.0 = (self.0.rotate_left(5) ^ step.ip ^ step.sp).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

fn run(bencher: Bencher<'_, '_>, code: &'static [u8]) {
    let mut emulator = Emulator::new(Code(code));
    emulator
        .memory()
        .map(STACK..STACK + 0x1000, Access::READ_WRITE);
    let breakpoints = Breakpoints::default();
    bencher.counter(ItemsCount::new(BUDGET)).bench_local(|| {
        let registers = emulator.registers_mut();
        registers.rip = CODE;
        registers.general[Registers::RSP] = STACK + 0x800;
        registers.general[Registers::RSI] = STACK;
        let mut hash = Hash::default();
        assert_eq!(emulator.run(BUDGET, &breakpoints, &mut hash), Stop::Budget);
        black_box(hash.0)
    });
}

/// `add rax, rbx; xor rcx, rax; lea rdx, [rcx + rax * 4]; cmp rdx, rbx; cmovb rbx, rdx; shr rdx, 3;
/// test rdx, rdx; jmp`.
#[divan::bench]
fn registers(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &[
            0x48, 0x01, 0xd8, 0x48, 0x31, 0xc1, 0x48, 0x8d, 0x14, 0x81, 0x48, 0x39, 0xda, 0x48,
            0x0f, 0x42, 0xda, 0x48, 0xc1, 0xea, 0x03, 0x48, 0x85, 0xd2, 0xeb, 0xe6,
        ],
    );
}

/// `mov rax, [rsi]; add rax, 1; mov [rsi], rax; movzx ecx, byte [rsi + 8]; add [rsi +
/// 16], rcx; cmp rax, 0; jne`.
#[divan::bench]
fn memory(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &[
            0x48, 0x8b, 0x06, 0x48, 0x83, 0xc0, 0x01, 0x48, 0x89, 0x06, 0x0f, 0xb6, 0x4e, 0x08,
            0x48, 0x01, 0x4e, 0x10, 0x48, 0x83, 0xf8, 0x00, 0x75, 0xe8,
        ],
    );
}

/// A loop that calls: `call f; jmp`, `f: push rbp; mov rbp, rsp; pop rbp; ret`.
#[divan::bench]
fn calls(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &[
            0xe8, 0x02, 0x00, 0x00, 0x00, 0xeb, 0xf9, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3,
        ],
    );
}

/// `movups xmm0, [rsi]; pcmpeqb xmm1, xmm0; pmovmskb eax, xmm1; paddd xmm0, xmm2; movaps [rsi +
/// 16], xmm0; pxor xmm3, xmm0; jmp`.
#[divan::bench]
fn sse(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &[
            0x0f, 0x10, 0x06, 0x66, 0x0f, 0x74, 0xc8, 0x66, 0x0f, 0xd7, 0xc1, 0x66, 0x0f, 0xfe,
            0xc2, 0x0f, 0x29, 0x46, 0x10, 0x66, 0x0f, 0xef, 0xd8, 0xeb, 0xe7,
        ],
    );
}

/// The cost of a new emulator, up to its first instruction.
#[divan::bench]
fn start(bencher: Bencher<'_, '_>) {
    let breakpoints = Breakpoints::default();
    bencher.bench_local(|| {
        let mut emulator = Emulator::new(Code(&[0x90, 0xeb, 0xfd]));
        emulator.registers_mut().rip = CODE;
        assert_eq!(emulator.run(1, &breakpoints, &mut ()), Stop::Budget);
        emulator
    });
}
