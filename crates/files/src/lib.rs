//! Opens and reads files that the target names or fills, without doing harm.
//!
//! [`Regular`] opens only files that can be read without an effect: opening a device may start it,
//! and opening a pipe may wait forever. [`bounded`] reads no more of a file than intended.
#![forbid(unsafe_code)]

pub mod bounded;
mod place;
mod regular;

pub use place::{fill, read_at_most};
pub use regular::{NamedBy, Refusal, Regular};
