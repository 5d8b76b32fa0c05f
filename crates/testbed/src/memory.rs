//! Allocates and frees memory on command.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
};

use crate::{Never, control::Control};

/// Larger than a page, and smaller than the blocks that glibc maps separately, in bytes.
const PIECE: usize = 16 << 10;
/// One of this many pieces stays.
const STAYS: usize = 16;

/// In addition to the commands of all scenarios:
///
/// | command | |
/// |---|---|
/// | `hold COUNT SIZE` | allocates that many blocks and keeps them |
/// | `turn COUNT SIZE` | allocates that many, one after another, and frees each |
/// | `fragment MIB` | allocates that much in small blocks, writes to it, and frees most of them |
/// | `free` | frees everything that is kept |
///
/// Each answers `done`.
pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let kept = Mutex::new(Vec::new());
    control.serve_with(
        || 0,
        move |command| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let mut words = command.split(' ');
            let name = words.next()?;
            let mut numbers = words.map(|word| word.parse().unwrap_or(0));
            let mut number = || numbers.next().unwrap_or(0);
            match name {
                "hold" => {
                    let (count, size) = (number(), number());
                    // Keeps the growth of the list itself out of the counts.
                    kept.reserve_exact(count);
                    kept.extend((0..count).map(|_| block(size)));
                }
                "turn" => {
                    let (count, size) = (number(), number());
                    (0..count).for_each(|_| drop(block(size)));
                }
                "fragment" => fragment(&mut kept, number()),
                "free" => kept.clear(),
                _ => return None,
            }
            Some("done".to_owned())
        },
    )
}

/// Allocates a block that the compiler can't optimize out.
fn block(size: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(size))
}

fn fragment(kept: &mut Vec<Vec<u8>>, mebibytes: usize) {
    let pieces = (mebibytes << 20) / PIECE;
    let taken: Vec<Vec<u8>> = (0..pieces).map(|_| vec![1; PIECE]).collect();
    let numbered = taken.into_iter().enumerate();
    kept.extend(numbered.filter_map(|(number, piece)| (number % STAYS == 0).then_some(piece)));
}
