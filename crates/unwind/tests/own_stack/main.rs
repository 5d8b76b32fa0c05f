//! Unwinds copies of the test's own stack and compares the results with libgcc's unwinder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod capture;
mod handler;

use std::{hint::black_box, thread};

use capture::{Captured, capture};
use rtops_unwind::{MAX_FRAMES, Outcome, StackSlice, Unwinder};

fn unwinder() -> Unwinder {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    unwinder
}

/// Calls itself `depth` times and captures in the innermost call. Also returns the address of a
/// local variable `base_level` calls up.
#[inline(never)]
fn recurse(depth: usize, base_level: usize) -> (Captured, u64) {
    let local = black_box([depth as u64; 4]);
    let address = (&raw const local).addr() as u64;
    let (captured, base) = if depth == 0 {
        (capture(), address)
    } else {
        recurse(black_box(depth - 1), base_level)
    };
    black_box(&local);
    (captured, if depth == base_level { address } else { base })
}

fn in_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new()
        .stack_size(4 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn a_whole_stack_has_the_frames_that_libgcc_finds() {
    let (captured, _) = in_thread(|| recurse(20, 0));
    let mut frames = Vec::new();
    assert_eq!(
        unwinder().unwind(&captured.slice(), None, &mut frames),
        Outcome::Root
    );
    assert_eq!(frames[0], captured.registers.ip);
    assert_eq!(frames[1..], captured.callers);
    assert!(frames.len() > 22, "{frames:x?}");
}

#[test]
fn results_are_appended() {
    let (captured, _) = in_thread(|| recurse(0, 0));
    let mut frames = vec![1, 2];
    unwinder().unwind(&captured.slice(), None, &mut frames);
    assert_eq!(frames[..3], [1, 2, captured.registers.ip]);
}

#[test]
fn a_base_ends_the_stack_with_the_frame_that_holds_it() {
    for level in [0, 1, 7, 20] {
        let (captured, base) = in_thread(move || recurse(20, level));
        let mut frames = Vec::new();
        let outcome = unwinder().unwind(&captured.slice(), Some(base), &mut frames);
        assert_eq!(outcome, Outcome::Base);
        // `capture` itself, then the calls from level 0 up to the one that contains the base.
        assert_eq!(frames.len(), 1 + level + 1);
        assert_eq!(frames[1..], captured.callers[..=level]);
    }
}

#[test]
fn a_slice_that_ends_at_the_base_still_reaches_it() {
    let (captured, base) = in_thread(|| recurse(20, 7));
    let len = usize::try_from(base - captured.registers.sp).unwrap();
    let slice = StackSlice {
        bytes: &captured.bytes[..len],
        ..captured.slice()
    };
    let mut frames = Vec::new();
    assert_eq!(
        unwinder().unwind(&slice, Some(base), &mut frames),
        Outcome::Base
    );
    assert_eq!(frames[1..], captured.callers[..=7]);
}

#[test]
fn a_short_slice_gives_the_frames_it_holds_and_says_so() {
    let (captured, base) = in_thread(|| recurse(20, 10));
    let mut unwinder = unwinder();
    let len = usize::try_from(base - captured.registers.sp).unwrap();
    for len in [0, 7, 8, len / 2, len] {
        let slice = StackSlice {
            bytes: &captured.bytes[..len],
            ..captured.slice()
        };
        for base in [None, Some(captured.registers.sp + (1 << 20))] {
            let mut frames = Vec::new();
            assert_eq!(
                unwinder.unwind(&slice, base, &mut frames),
                Outcome::Truncated
            );
            assert!(frames.len() < 13);
            assert_eq!(frames[1..], captured.callers[..frames.len() - 1]);
        }
    }
    // A step that failed for lack of memory left nothing wrong in the cache.
    let mut frames = Vec::new();
    assert_eq!(
        unwinder.unwind(&captured.slice(), None, &mut frames),
        Outcome::Root
    );
    assert_eq!(frames[1..], captured.callers);
}

#[test]
fn a_very_deep_stack_is_cut() {
    let (captured, _) = in_thread(|| recurse(MAX_FRAMES + 10, 0));
    let mut frames = Vec::new();
    assert_eq!(
        unwinder().unwind(&captured.slice(), None, &mut frames),
        Outcome::TooDeep
    );
    assert_eq!(frames.len(), MAX_FRAMES);
    assert_eq!(frames[1..], captured.callers[..MAX_FRAMES - 1]);
}

#[test]
fn without_modules_only_the_first_address_is_known() {
    let (captured, _) = in_thread(|| recurse(3, 0));
    let mut frames = Vec::new();
    assert_eq!(
        Unwinder::new().unwind(&captured.slice(), None, &mut frames),
        Outcome::Lost
    );
    assert_eq!(frames, [captured.registers.ip]);
}

#[test]
fn a_stack_goes_on_below_a_signal_handler() {
    let captured = in_thread(handler::capture_in_handler);
    let mut frames = Vec::new();
    assert_eq!(
        unwinder().unwind(&captured.slice(), None, &mut frames),
        Outcome::Root
    );
    // libgcc returns the interrupted address as it is; ours is one higher.
    let differing: Vec<_> = frames[1..]
        .iter()
        .zip(&captured.callers)
        .filter(|(ours, theirs)| ours != theirs)
        .collect();
    assert_eq!(frames.len() - 1, captured.callers.len());
    assert_eq!(differing.len(), 1);
    assert_eq!(*differing[0].0, *differing[0].1 + 1);
}

#[test]
fn garbage_is_unwound_without_panic_or_endless_loop() {
    let mut unwinder = unwinder();
    let code: Vec<_> = unwinder
        .modules()
        .iter()
        .map(|module| module.code.clone())
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50_000 {
        let mut address = || {
            let range = &code[random.below(code.len() as u64) as usize];
            range.start + random.below(range.end - range.start)
        };
        let words: Vec<u64> = (0..64).map(|_| address()).collect();
        let ip = address();
        let extremes = [
            0,
            1,
            7,
            8,
            4096,
            u64::MAX,
            u64::MAX - 7,
            i64::MAX as u64,
            1 << 46,
        ];
        let sp = extremes[random.below(9) as usize].wrapping_add(random.below(3));
        let bp = [
            sp.wrapping_add(random.below(512)),
            random.next(),
            0,
            sp,
            u64::MAX,
        ][random.below(5) as usize];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        for byte in &mut bytes {
            if random.below(16) == 0 {
                *byte = random.next() as u8;
            }
        }
        // Pointers into the slice itself, like frame pointers.
        for _ in 0..8 {
            let at = random.below(63) as usize * 8;
            let pointer = sp.wrapping_add(random.below(600));
            bytes[at..at + 8].copy_from_slice(&pointer.to_ne_bytes());
        }
        let registers = rtops_unwind::StackRegisters { ip, sp, bp };
        let base = (random.below(2) == 0).then(|| sp.wrapping_add(random.below(600)));
        let mut frames = Vec::new();
        unwinder.unwind(
            &StackSlice {
                registers,
                bytes: &bytes,
            },
            base,
            &mut frames,
        );
        // Each frame takes at least the 8 bytes of its return address.
        assert!(frames.len() <= 1 + bytes.len() / 8);
    }
}

/// Returns addresses in the first pages of each module's code, where stubs
/// with computed rules are, and some after them.
fn sample_code() -> Vec<u64> {
    let unwinder = unwinder();
    let starts = unwinder.modules().iter().map(|module| module.code.start);
    starts
        .flat_map(|start| (0..600).map(move |step| start + step * 7))
        .collect()
}

fn outcome_at(unwinder: &mut Unwinder, ip: u64, bp: u64, bytes: &[u8]) -> (Outcome, Vec<u64>) {
    let registers = rtops_unwind::StackRegisters {
        ip,
        sp: 1 << 40,
        bp,
    };
    let mut frames = Vec::new();
    let outcome = unwinder.unwind(&StackSlice { registers, bytes }, None, &mut frames);
    (outcome, frames)
}

#[test]
fn a_step_that_lacked_memory_leaves_no_guess_behind() {
    // Each word is a plausible return address, and shows where it was read.
    let bytes: Vec<u8> = (0x10000..0x10200_u64).flat_map(u64::to_ne_bytes).collect();
    let bp = (1 << 40) + 1024;
    for ip in sample_code() {
        let expected = outcome_at(&mut unwinder(), ip, bp, &bytes);
        let mut unwinder = unwinder();
        outcome_at(&mut unwinder, ip, bp, &[]);
        assert_eq!(
            outcome_at(&mut unwinder, ip, bp, &bytes),
            expected,
            "{ip:x}"
        );
    }
}

#[test]
fn a_null_frame_pointer_is_not_taken_for_the_root() {
    let mut unwinder = unwinder();
    for ip in sample_code() {
        let null = outcome_at(&mut unwinder, ip, 0, &[0xff; 4096]);
        assert_eq!(
            null,
            outcome_at(&mut unwinder, ip, 8, &[0xff; 4096]),
            "{ip:x}"
        );
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
