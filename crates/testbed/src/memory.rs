//! Takes and frees memory as it is told to.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
};

use crate::{Never, control::Control};

/// Larger than a page, and smaller than what glibc maps one by one.
const PIECE: usize = 16 << 10;
/// One of so many pieces stays.
const STAYS: usize = 16;

/// Beside the commands of all scenarios:
///
/// | command | |
/// |---|---|
/// | `hold COUNT SIZE` | takes that many blocks and keeps them |
/// | `turn COUNT SIZE` | takes that many, one after the other, and frees each |
/// | `fragment MIB` | takes that much in small blocks, writes to it, and frees most of them |
/// | `free` | frees all that is kept |
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
                    // A list of the list's own is not counted with them.
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

/// A block that the compiler can't leave out.
fn block(size: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(size))
}

fn fragment(kept: &mut Vec<Vec<u8>>, mebibytes: usize) {
    let pieces = (mebibytes << 20) / PIECE;
    let taken: Vec<Vec<u8>> = (0..pieces).map(|_| vec![1; PIECE]).collect();
    let numbered = taken.into_iter().enumerate();
    kept.extend(numbered.filter_map(|(number, piece)| (number % STAYS == 0).then_some(piece)));
}
