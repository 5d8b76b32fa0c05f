//! Files that the process which is looked at names or fills, opened and read so that they do no harm.
//!
//! [`Regular`] opens nothing but what can be read without an effect: opening a device may start it,
//! opening a pipe may wait for ever. [`bounded`] reads no more of a file than was meant to be read.
#![forbid(unsafe_code)]

pub mod bounded;
mod place;
mod regular;

pub use place::{fill, read_at_most};
pub use regular::{NamedBy, Refusal, Regular};
