//! Code that the tests of both tiers share.

mod built;
pub mod look;
pub mod memstats;
pub mod processes;
pub mod redact;
pub mod reply;
pub mod source;
pub mod support;
pub mod symbols;
pub mod terminal;
pub mod verdict;
pub mod victim;

pub use built::built;
