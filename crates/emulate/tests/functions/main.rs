//! Calls and interprets whole functions of this program; the results must be equal.
//!
//! The interpreter works on a frozen copy of this process, which has
//! everything at the same addresses.

mod frozen;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    hint::black_box,
};

use frozen::{Frozen, fs_base};
use rtops_emulate::{Access, Breakpoints, Emulator, Observer, Registers, Step, Stop};

/// The return address of a function: an address that no process uses.
const END: u64 = 0x1000;
const STACK: u64 = 0x7000_0000_0000;
const STACK_SIZE: u64 = 1 << 20;

/// The address of the memory that the functions ask for.
const MAPPED: u64 = 0x7100_0000_0000;

/// A function that writes its result to the buffer.
type Function = extern "C" fn(&mut [u8; 256], u64);

/// Counts the instructions that run.
#[derive(Default)]
struct Counter {
    steps: u64,
}

impl Observer for Counter {
    fn step(&mut self, _: Step) {
        self.steps += 1;
    }
}

/// Calls the function in the interpreter, and returns what it wrote.
fn interpret(function: Function, argument: u64) -> [u8; 256] {
    let mut result = [0; 256];
    let buffer = result.as_mut_ptr().addr() as u64;
    let mut emulator = Emulator::new(Frozen::new());
    emulator
        .memory()
        .map(STACK..STACK + STACK_SIZE, Access::READ_WRITE);
    let sp = STACK + STACK_SIZE - 0x108;
    emulator
        .memory()
        .write(sp, &END.to_le_bytes())
        .expect("the stack");
    let registers = emulator.registers_mut();
    registers.fs_base = fs_base();
    registers.rip = function as usize as u64;
    registers.general[Registers::RSP] = sp;
    registers.general[Registers::RDI] = buffer;
    registers.general[Registers::RSI] = argument;
    let mut counter = Counter::default();
    let end: Breakpoints = [END].into_iter().collect();
    let mut mapped = MAPPED;
    let stop = loop {
        match emulator.run(200_000_000, &end, &mut counter) {
            Stop::SystemCall => answer(&mut emulator, &mut mapped),
            stop => break stop,
        }
    };
    assert_eq!(
        stop,
        Stop::Breakpoint(END),
        "after {} steps: {stop}",
        counter.steps
    );
    assert_eq!(emulator.registers().general[Registers::RSP], sp + 8);
    emulator
        .memory()
        .read_slice(buffer, &mut result)
        .expect("the result");
    result
}

/// Answers the system calls of an allocator: new memory is granted, and returned memory is ignored.
fn answer(emulator: &mut Emulator<'_>, mapped: &mut u64) {
    const MMAP: u64 = 9;
    const MUNMAP: u64 = 11;
    const MADVISE: u64 = 28;
    const GETRANDOM: u64 = 318;
    const NOT_IMPLEMENTED: u64 = -38_i64 as u64;
    let general = emulator.registers().general;
    let length = general[Registers::RSI];
    emulator.registers_mut().general[Registers::RAX] = match general[Registers::RAX] {
        MMAP => {
            let start = *mapped;
            *mapped += length.next_multiple_of(4096);
            emulator.memory().map(start..*mapped, Access::READ_WRITE);
            start
        }
        MUNMAP | MADVISE => 0,
        GETRANDOM => length,
        _ => NOT_IMPLEMENTED,
    };
}

/// Checks that the function gives the same result both ways, for several arguments.
fn check(function: Function) {
    for argument in [0, 1, 7, 100, 1000] {
        let interpreted = interpret(function, argument);
        let mut native = [0; 256];
        function(&mut native, argument);
        assert_eq!(
            String::from_utf8_lossy(&interpreted),
            String::from_utf8_lossy(&native),
            "for the argument {argument}"
        );
    }
}

/// Fills the buffer with text.
fn put(buffer: &mut [u8; 256], text: &str) {
    let length = text.len().min(256);
    buffer[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Returns numbers that look random.
fn numbers(count: u64) -> Vec<u64> {
    (0..count)
        .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32))
        .collect()
}

extern "C" fn copies_and_compares(buffer: &mut [u8; 256], n: u64) {
    let from: Vec<u8> = (0..n as usize * 3 + 5).map(|x| x as u8).collect();
    let mut to = vec![0; from.len() + 40];
    for start in [0, 1, 3, 16, 33] {
        to[start..start + from.len()].copy_from_slice(black_box(&from));
        to.copy_within(start..start + from.len() / 2, start + 3);
        to[..2].fill(9);
    }
    let text = format!(
        "{} {:?} {:?}",
        from == to,
        from.cmp(&to),
        to.iter()
            .fold(0_u64, |h, &x| h * 31 % 999_983 + u64::from(x))
    );
    put(buffer, &text);
}

extern "C" fn searches(buffer: &mut [u8; 256], n: u64) {
    let text = "lorem ipsum ".repeat(n as usize + 1) + "dolor";
    let found = (
        text.find("dolor"),
        text.rfind('m'),
        text.split(' ').count(),
        text.contains("xyz"),
    );
    put(buffer, &format!("{found:?} {}", text.to_uppercase().len()));
}

extern "C" fn formats_integers(buffer: &mut [u8; 256], n: u64) {
    let mut text = String::new();
    for x in numbers(n.min(9) + 1) {
        write!(text, "{x} {x:x} {:>8} {:?};", x as u8, x as i16).expect("a string grows");
    }
    put(buffer, &text);
}

extern "C" fn formats_floats(buffer: &mut [u8; 256], n: u64) {
    let x = black_box(n as f64) / 7.0 - 3.5;
    let y = x.sqrt().max(0.25) * 1e-7 + x.sin() + x.powi(3) + f64::from(x as f32);
    put(
        buffer,
        &format!(
            "{x} {y:?} {:.3} {:e} {} {}",
            y,
            x,
            x as i64,
            (y * 100.0).round()
        ),
    );
}

extern "C" fn parses(buffer: &mut [u8; 256], n: u64) {
    let text = format!("{n}.{n}e-{}", n % 20);
    let parsed: f64 = text.parse().unwrap_or(f64::NAN);
    let whole: Result<i32, _> = black_box("-12x").parse::<i32>();
    put(
        buffer,
        &format!("{parsed:?} {whole:?} {:?}", text.parse::<u128>()),
    );
}

extern "C" fn hash_maps(buffer: &mut [u8; 256], n: u64) {
    let mut map = HashMap::new();
    for x in numbers(n) {
        *map.entry(x % 97).or_insert(0_u64) += x >> 40;
    }
    let mut all: Vec<_> = map.into_iter().collect();
    all.sort_unstable();
    put(
        buffer,
        &format!("{} {:?}", all.len(), &all[..all.len().min(9)]),
    );
}

extern "C" fn sorts(buffer: &mut [u8; 256], n: u64) {
    let mut all = numbers(n + 3);
    all.sort();
    let mut texts: Vec<String> = all.iter().map(|x| format!("{:x}", x % 4096)).collect();
    texts.sort_unstable_by(|a, b| b.cmp(a));
    let tree: BTreeMap<_, _> = texts.iter().zip(&all).collect();
    put(
        buffer,
        &format!(
            "{:?} {:?} {}",
            &texts[..3],
            tree.first_key_value(),
            tree.len()
        ),
    );
}

/// Runs the rounds of SHA-256, without its constants.
extern "C" fn digests(buffer: &mut [u8; 256], n: u64) {
    let mut state = [
        0x6a09_e667_u32,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    for word in numbers(n + 64) {
        let [a, b, c, d, e, f, g, h] = state;
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t1 = h
            .wrapping_add(s1)
            .wrapping_add(e & f ^ !e & g)
            .wrapping_add(word as u32);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add(a & b ^ a & c ^ b & c);
        state = [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g];
    }
    put(buffer, &format!("{state:x?}"));
}

/// Does wide arithmetic: `div`, `mul`, `adc`, and the 128-bit routines.
extern "C" fn divides(buffer: &mut [u8; 256], n: u64) {
    let x = u128::from(n) << 70 | 0x1234_5678_9abc_def0_u128;
    let y = u128::from(n | 1) * 1_000_003;
    put(
        buffer,
        &format!(
            "{} {} {:?}",
            black_box(x) / black_box(y),
            x % y,
            (x as i128).checked_mul(-77_777)
        ),
    );
}

#[test]
fn copying_and_comparing() {
    check(copies_and_compares);
}

#[test]
fn searching() {
    check(searches);
}

#[test]
fn formatting_integers() {
    check(formats_integers);
}

#[test]
fn formatting_floats() {
    check(formats_floats);
}

#[test]
fn parsing() {
    check(parses);
}

#[test]
fn hashing() {
    check(hash_maps);
}

#[test]
fn sorting() {
    check(sorts);
}

#[test]
fn digesting() {
    check(digests);
}

#[test]
fn dividing() {
    check(divides);
}
