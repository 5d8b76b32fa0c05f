//! A platform without a module list: with no modules, nothing can be
//! unwound and nothing is invented.

use super::Generation;
use crate::modules::Loaded;

pub(crate) fn generation() -> Option<Generation> {
    Some(Generation {
        added: 0,
        removed: 0,
    })
}

pub(crate) fn loaded() -> Vec<Loaded> {
    Vec::new()
}

pub(crate) fn signal_trampoline() -> Option<u64> {
    None
}
