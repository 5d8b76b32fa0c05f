//! Tests that vector registers are found at their different offsets in
//! cores of Intel and AMD processors.

mod common;

use common::forged::Forged;
use rtops_image::{Core, Image, Options, Vectors, XstateLayout};

const FPREGSET: u32 = 2;
const XSTATE: u32 = 0x202;
const LAYOUT: u32 = 0x205;

/// Makes a state of this size in which every 16 bytes hold their own index, with everything in use.
fn state(size: usize) -> Vec<u8> {
    let mut state: Vec<_> = (0..size)
        .map(|at| u8::try_from(at / 16 % 256).expect("small"))
        .collect();
    state[512..520].copy_from_slice(&0xff_u64.to_le_bytes());
    state
}

fn byte_at(place: usize) -> u8 {
    u8::try_from(place / 16 % 256).expect("small")
}

/// Returns the registers in a core with these notes after its only thread.
fn vectors(layout: Option<&[u8]>, notes: &[(u32, &[u8])]) -> Option<Vectors> {
    let mut core = Forged::default();
    core.add_thread(1);
    for (kind, bytes) in notes {
        if *kind == FPREGSET {
            core.add_note(*kind, bytes);
        } else {
            core.add_linux_note(*kind, bytes);
        }
    }
    // Linux writes it after all threads.
    if let Some(layout) = layout {
        core.add_linux_note(LAYOUT, layout);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("core");
    core.write(&path);
    let core = Core::open(&path, &Options::default()).expect("a core");
    let thread = core.threads().first().expect("a thread");
    thread.vectors.as_deref().cloned()
}

#[test]
fn places_follow_from_the_size() {
    // Intel with AVX-512 and protection keys, the same with AMX, and AMD with AVX-512 and keys.
    for (size, masks, upper, more) in [
        (2696, 1088, 1152, 1664),
        (11008, 1088, 1152, 1664),
        (2440, 832, 896, 1408),
    ] {
        let vectors = vectors(None, &[(XSTATE, &state(size))]).expect("vectors");
        let avx512 = vectors.avx512.expect("AVX-512");
        assert_eq!(vectors.ymm[0][0], byte_at(160));
        assert_eq!(vectors.ymm[15][15], byte_at(160 + 15 * 16));
        assert_eq!(vectors.ymm[15][16], byte_at(576 + 15 * 16));
        assert_eq!(
            avx512.masks[7].to_le_bytes()[0],
            byte_at(masks + 56),
            "{size}"
        );
        assert_eq!(avx512.upper[15][31], byte_at(upper + 511), "{size}");
        assert_eq!(avx512.more[15][63], byte_at(more + 1023), "{size}");
    }
}

#[test]
fn a_stated_layout_comes_first() {
    let mut layout = Vec::new();
    for (component, size, offset) in [
        (2_u32, 256_u32, 1024_u32),
        (5, 64, 640),
        (6, 512, 1280),
        (7, 1024, 2048),
    ] {
        for word in [component, size, offset, 0] {
            layout.extend_from_slice(&word.to_le_bytes());
        }
    }
    let found = vectors(Some(&layout), &[(XSTATE, &state(3072))]).expect("vectors");
    let avx512 = found.avx512.expect("AVX-512");
    assert_eq!(found.ymm[0][16], byte_at(1024));
    assert_eq!(avx512.masks[0].to_le_bytes()[0], byte_at(640));
    assert_eq!(avx512.more[0][0], byte_at(2048));
}

#[test]
fn what_is_not_in_use_is_zero() {
    let mut unused = state(2696);
    unused[512..520].copy_from_slice(&3_u64.to_le_bytes());
    let found = vectors(None, &[(XSTATE, &unused)]).expect("vectors");
    assert_eq!(found.ymm[3][16..], [0; 16]);
    assert_ne!(found.ymm[3][..16], [0; 16]);
    let avx512 = found.avx512.expect("AVX-512");
    assert!(avx512.masks == [0; 8] && avx512.more[15] == [0; 64]);
}

#[test]
fn older_and_cut_states_give_what_they_have() {
    let legacy = vectors(None, &[(FPREGSET, &state(520)[..512])]).expect("vectors");
    assert_eq!(legacy.ymm[1][0], byte_at(176));
    assert_eq!(
        (legacy.ymm[1][16..].to_vec(), legacy.avx512),
        (vec![0; 16], None)
    );
    // The more complete one counts, whichever comes first.
    let avx = state(832);
    for notes in [
        [(FPREGSET, &avx[..512]), (XSTATE, &avx)],
        [(XSTATE, &avx), (FPREGSET, &avx[..512])],
    ] {
        let found = vectors(None, &notes).expect("vectors");
        assert_eq!(found.ymm[0][16], byte_at(576));
        assert_eq!(found.avx512, None);
    }
    for size in [0, 1, 511] {
        assert_eq!(vectors(None, &[(FPREGSET, &vec![1; size])]), None);
    }
    assert_eq!(vectors(None, &[]), None);
}

#[test]
fn whoever_traces_a_thread_has_the_same_bytes() {
    let mut state = vec![0; 512 + 64 + 256];
    // MXCSR, xmm3, the components in use, and the upper half of ymm3.
    state[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    state[160 + 48..160 + 64].copy_from_slice(b"0123456789abcdef");
    state[512] = 0b111;
    state[576 + 48..576 + 64].copy_from_slice(b"GHIJKLMNOPQRSTUV");
    let vectors = Vectors::from_xstate(&state, &XstateLayout::default()).expect("registers");
    assert_eq!(vectors.mxcsr, 0x1f80);
    assert_eq!(vectors.ymm[3], *b"0123456789abcdefGHIJKLMNOPQRSTUV");
    let legacy = Vectors::from_xstate(&state[..512], &XstateLayout::default()).expect("registers");
    assert_eq!(legacy.ymm[3][..16], *b"0123456789abcdef");
    assert_eq!(legacy.ymm[3][16..], [0; 16]);
    assert!(Vectors::from_xstate(&state[..511], &XstateLayout::default()).is_none());
}
